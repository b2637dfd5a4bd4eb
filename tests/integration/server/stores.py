"""Stores for the tests: a real S3 server, a web server with TLS, and a proxy that spoils connections."""

import asyncio
import hashlib
import json
import os
import ssl
import subprocess
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import botocore.session
import httpx
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from perennial_localcluster.golang import find_go, parse_go_version
from perennial_localcluster.paths import find_paths

from .conftest import Process, find_port, wait_for

MODULE = Path(__file__).with_name("s3server")
PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
BUILD_TIMEOUT_S = 900
ROOT = ("root-of-the-store", "secret-of-the-root")
READER = ("reader-of-models", "secret-of-the-reader")


def build_s3_server():
    """Build the S3 server once per content of its pins, into the cache of the project."""
    cache = find_paths().cache
    pins = b"".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    target = cache / "bin" / hashlib.sha256(pins).hexdigest()[:16] / "versitygw"
    if not target.exists():
        go = find_go(parse_go_version((MODULE / "go.mod").read_text()), cache)
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f"{target.name}.{os.getpid()}")
        command = [str(go), "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", "-s -w"]
        environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        subprocess.run(
            [*command, "-o", str(unfinished), PACKAGE],
            cwd=MODULE,
            env=environment,
            check=True,
            timeout=BUILD_TIMEOUT_S,
        )
        unfinished.replace(target)
    return target


class S3Server(Process):
    """The store, with a bucket that its reader may read and one that is nobody's business."""

    def __init__(self, arguments, environment, host, port, output):
        super().__init__(arguments, environment, port, output)
        self.url = f"http://{host}:{port}"

    def client(self):
        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ROOT[0],
            aws_secret_access_key=ROOT[1],
        )

    def put(self, bucket, key, data):
        self.client().put_object(Bucket=bucket, Key=key, Body=data)

    def is_there(self):
        assert self.popen.poll() is None, self.output.read_text()
        with suppress(httpx.HTTPError):
            return httpx.get(self.url, timeout=5).status_code > 0
        return False


@contextmanager
def run_s3_server(directory, host="127.0.0.1"):
    binary = build_s3_server()
    for name in ("data", "metadata", "users"):
        (directory / name).mkdir(parents=True)
    port = find_port()
    options = ["--port", f"{host}:{port}", "--iam-dir", str(directory / "users"), "--quiet"]
    backend = ["posix", "--sidecar", str(directory / "metadata"), str(directory / "data")]
    names = ("ROOT_ACCESS_KEY_ID", "ROOT_SECRET_ACCESS_KEY")
    environment = dict(os.environ) | dict(zip(names, ROOT, strict=True))
    server = S3Server([str(binary), *options, *backend], environment, host, port, directory / "log")
    try:
        wait_for(server.is_there, "the S3 server")
        admin = [str(binary), "admin", "--access", ROOT[0], "--secret", ROOT[1], "--endpoint-url", server.url]
        user = ["create-user", "--access", READER[0], "--secret", READER[1], "--role", "user"]
        subprocess.run([*admin, *user], check=True, timeout=60, capture_output=True)
        client = server.client()
        for bucket in ("models", "private"):
            client.create_bucket(Bucket=bucket)
        client.put_bucket_policy(Bucket="models", Policy=json.dumps(_read_policy("models")))
        yield server
    finally:
        server.stop()


def _read_policy(bucket):
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": READER[0]},
                "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            }
        ],
    }


@asynccontextmanager
async def run_proxy(port, script):
    """Stand between a client and a port: each connection gets the script's next part, then all pass.

    A part is "busy" (answers 503), "hang" (answers nothing) or a number of bytes after which the answer is cut.
    """
    left, tasks = list(script), set()

    async def handle(reader, writer):
        tasks.add(asyncio.current_task())
        part = left.pop(0) if left else None
        try:
            if part == "busy":
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                await writer.drain()
            elif part == "hang":
                await asyncio.Event().wait()
            else:
                await _pass(reader, writer, port, part)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", left
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass(reader, writer, port, cut_bytes):
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)

    async def copy(source, target, limit):
        while limit and (data := await source.read(min(limit, 65536))):
            target.write(data)
            await target.drain()
            limit -= len(data)

    requests = asyncio.ensure_future(copy(reader, there_writer, 1 << 60))
    try:
        await copy(there_reader, writer, 1 << 60 if cut_bytes is None else cut_bytes)
    finally:
        requests.cancel()
        there_writer.close()


def write_certificate(directory):
    """Write an authority's certificate, and a key with a certificate of 127.0.0.1 signed by it."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "models")])
    now = datetime.now(UTC)
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    builder = x509.CertificateBuilder().issuer_name(name).not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=1))
    ca = (
        builder.subject_name(name)
        .public_key(authority.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(authority, hashes.SHA256())
    )
    leaf = (
        builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")]))
        .public_key(key.public_key())
        .serial_number(2)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(authority, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "ca.crt").write_bytes(ca.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "server.pem").write_bytes(private + leaf.public_bytes(pem))


@asynccontextmanager
async def run_web_server(root, certificate=None, authorization=None, redirects=None, headers=None):
    """Serve a directory on loopback, with TLS if there is a certificate; `seen` is what it was asked."""
    seen = []

    async def answer(request):
        seen.append(request)
        if redirects and request.path in redirects:
            raise web.HTTPFound(redirects[request.path])
        if authorization is not None and request.headers.get("Authorization") != authorization:
            raise web.HTTPUnauthorized
        path = root / request.path.lstrip("/")
        if not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers=headers)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    site = web.TCPSite(runner, "127.0.0.1", find_port(), ssl_context=context)
    await site.start()
    try:
        yield site.name, seen
    finally:
        await runner.cleanup()


@asynccontextmanager
async def run_stand_in(data):
    """Answer as much of Google's and Azure's APIs as reading one object takes: it proves the libraries, not the stores."""
    head = {
        "ETag": '"e"',
        "Last-Modified": "Mon, 30 Nov 2026 07:48:39 GMT",
        "x-ms-creation-time": "Mon, 30 Nov 2026 07:48:39 GMT",
        "x-ms-blob-type": "BlockBlob",
    }

    async def answer(request):
        if request.query.get("comp") == "list":
            listing = b'<?xml version="1.0"?><EnumerationResults><Blobs/></EnumerationResults>'
            return web.Response(body=listing, content_type="application/xml")
        if "denied" in request.path_qs:
            return web.Response(status=403, headers={"x-ms-error-code": "AuthorizationFailure"})
        if not request.path.endswith("v1.tar"):
            return web.Response(status=404, headers={"x-ms-error-code": "BlobNotFound"})
        if request.path.startswith("/storage/"):
            return web.json_response({"name": "v1.tar", "bucket": "models", "size": str(len(data))})
        if request.method == "HEAD":
            return web.Response(headers=head | {"Content-Length": str(len(data))})
        first, last = (request.headers.get("x-ms-range") or request.headers["Range"]).split("=")[1].split("-")
        part = data[int(first) : int(last) + 1]
        spread = {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"}
        return web.Response(status=206, body=part, headers=head | spread)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", find_port())
    await site.start()
    try:
        yield site.name
    finally:
        await runner.cleanup()
