"""Bundles from a real S3 server and from a web server with TLS, and all that can go wrong on the way."""

import asyncio
import hashlib
import io
import os
import shutil
import tarfile

import httpx
import perennial_bundle
import pytest
from perennial_bundle import BundleNotFound, DigestMismatch, InvalidBundle, UnsafeModel
from perennial_server.loading.errors import AccessDenied, LoadTimeout, StoreUnavailable, TooLarge
from perennial_server.loading.fetching import fetch_bundle
from perennial_server.loading.progress import Progress
from perennial_server.settings import Settings

from .conftest import INFER, build_request, find_port, read_failure, run_server, start_server
from .stores import READER, run_proxy, run_s3_server, run_stand_in, run_web_server, write_certificate

TAR = "s3://models/wine/v1.tar"
FOLDER = "s3://models/wine/v1"
ANY_DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def s3(bundle, tmp_path_factory):
    with run_s3_server(tmp_path_factory.mktemp("s3")) as server:
        server.put("models", "wine/v1.tar", pack_bytes(bundle))
        for path in bundle.path.iterdir():
            server.put("models", f"wine/v1/{path.name}", path.read_bytes())
        server.put("models", "wine/v1/README.md", b"no part of the bundle")
        server.put("private", "v1.tar", pack_bytes(bundle))
        yield server


def pack_bytes(bundle):
    buffer = io.BytesIO()
    perennial_bundle.pack(bundle.path, buffer)
    return buffer.getvalue()


def write_secret(tmp_path, **values):
    directory = tmp_path / "secret"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for name, value in values.items():
        (directory / name).write_text(value)
    return directory


def reader_secret(tmp_path, url, key=READER[0], secret=READER[1]):
    return write_secret(tmp_path, AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret, AWS_ENDPOINT_URL=url)


def build_settings(uri, digest, secret=None, **changes):
    return Settings(
        namespace="shop",
        deployment="flights",
        revision="flights-1",
        bundle_uri=uri,
        bundle_sha256=digest and digest.removeprefix("sha256:"),
        store_secret_dir=secret,
        **{"bundle_attempts": 3, "bundle_stall_s": 20, "backoff_base_s": 0.01, "backoff_cap_s": 0.02}
        | changes,
    )


async def fetch(tmp_path, uri, digest, secret=None, **changes):
    return await fetch_bundle(build_settings(uri, digest, secret, **changes), tmp_path / "work", Progress())


def left_behind(tmp_path):
    return (
        sorted(path.name for path in (tmp_path / "work").rglob("*")) if (tmp_path / "work").exists() else []
    )


@pytest.mark.parametrize("uri", [TAR, FOLDER, f"{FOLDER}/"], ids=["tar", "folder", "folder with a slash"])
async def test_a_bundle_comes_from_a_private_bucket(s3, bundle, tmp_path, uri):
    got = await fetch(tmp_path, uri, bundle.digest, reader_secret(tmp_path, s3.url))
    assert got.digest == bundle.digest
    assert got.model is not None
    assert left_behind(tmp_path) == sorted(
        [bundle.digest.replace(":", "-"), *(path.name for path in bundle.path.iterdir())]
    )


@pytest.mark.parametrize(
    ("uri", "credentials", "says"),
    [
        (TAR, ("nobody", "secret-of-nobody"), "InvalidAccessKeyId, status 403"),
        (TAR, (READER[0], "secret-of-somebody-else"), "SignatureDoesNotMatch, status 403"),
        ("s3://private/v1.tar", READER, "AccessDenied, status 403"),
        ("s3://private/v1", READER, "AccessDenied, status 403"),
    ],
    ids=["an unknown key", "a wrong secret", "somebody else's tar", "somebody else's folder"],
)
async def test_who_may_not_read_is_told_so_at_once(s3, tmp_path, uri, credentials, says):
    with pytest.raises(AccessDenied, match=says) as caught:
        await fetch(tmp_path, uri, ANY_DIGEST, reader_secret(tmp_path, s3.url, *credentials))
    assert credentials[1] not in str(caught.value)
    assert left_behind(tmp_path) == []


async def test_an_absent_secret_is_named(bundle, tmp_path):
    with pytest.raises(AccessDenied, match="isn't there, or has none of the keys"):
        await fetch(tmp_path, TAR, bundle.digest, write_secret(tmp_path))


@pytest.mark.parametrize("uri", ["s3://models/wine/v2.tar", "s3://models/wine/v2", "s3://nowhere/v1.tar"])
async def test_where_there_is_nothing_the_address_is_named(s3, bundle, tmp_path, uri):
    with pytest.raises(BundleNotFound, match=f"there is nothing at {uri}"):
        await fetch(tmp_path, uri, bundle.digest, reader_secret(tmp_path, s3.url))


async def test_a_store_that_is_busy_and_breaks_off_is_asked_again(s3, bundle, tmp_path):
    async with run_proxy(s3.port, ["busy", 600, "busy"]) as (url, left):
        got = await fetch(tmp_path, TAR, bundle.digest, reader_secret(tmp_path, url), bundle_attempts=6)
    assert got.digest == bundle.digest
    assert left == []


async def test_a_store_that_stays_busy_is_given_up(s3, bundle, tmp_path):
    async with run_proxy(s3.port, ["busy"] * 9) as (url, left):
        with pytest.raises(StoreUnavailable, match=r"3 attempts in a row brought nothing, the last: .*503"):
            await fetch(tmp_path, TAR, bundle.digest, reader_secret(tmp_path, url))
    assert len(left) == 6


async def test_a_store_that_hangs_is_left_for_another_attempt(s3, bundle, tmp_path):
    async with run_proxy(s3.port, ["hang"]) as (url, _):
        secret = reader_secret(tmp_path, url)
        got = await fetch(tmp_path, TAR, bundle.digest, secret, bundle_stall_s=3)
    assert got.digest == bundle.digest


async def test_the_whole_has_a_time(s3, bundle, tmp_path):
    async with run_proxy(s3.port, ["hang"] * 9) as (url, _):
        secret = reader_secret(tmp_path, url)
        with pytest.raises(LoadTimeout, match="wasn't here after 2 s"):
            await fetch(tmp_path, TAR, bundle.digest, secret, bundle_timeout_s=2)
    assert left_behind(tmp_path) == []


async def test_a_store_that_is_away_is_told(bundle, tmp_path):
    secret = reader_secret(tmp_path, f"http://127.0.0.1:{find_port()}")
    with pytest.raises(StoreUnavailable, match="EndpointConnectionError"):
        await fetch(tmp_path, TAR, bundle.digest, secret)


@pytest.mark.parametrize("uri", [TAR, FOLDER])
async def test_a_bundle_larger_than_the_limit_is_refused(s3, bundle, tmp_path, uri):
    with pytest.raises(TooLarge, match="is larger than"):
        await fetch(tmp_path, uri, bundle.digest, reader_secret(tmp_path, s3.url), bundle_max_bytes=5000)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("uri", [TAR, FOLDER])
async def test_other_bytes_than_those_pinned_are_refused(s3, tmp_path, uri):
    with pytest.raises(DigestMismatch, match="was asked for"):
        await fetch(tmp_path, uri, ANY_DIGEST, reader_secret(tmp_path, s3.url))
    assert left_behind(tmp_path) == []


async def test_a_folders_file_that_was_changed_is_refused(s3, bundle, tmp_path):
    for path in bundle.path.iterdir():
        s3.put("models", f"changed/{path.name}", path.read_bytes())
    s3.put("models", "changed/model.skops", b"PK\x03\x04 something else")
    with pytest.raises(DigestMismatch, match=r"model\.skops"):
        await fetch(tmp_path, "s3://models/changed", bundle.digest, reader_secret(tmp_path, s3.url))


async def test_a_pickle_is_refused_as_such(s3, tmp_path):
    data = b"\x80\x04\x95 a pickle"
    s3.put("models", "pickle.tar", data)
    with pytest.raises(UnsafeModel, match="pickle"):
        await fetch(
            tmp_path,
            "s3://models/pickle.tar",
            hashlib.sha256(data).hexdigest(),
            reader_secret(tmp_path, s3.url),
        )
    assert left_behind(tmp_path) == []


async def test_a_link_in_a_tar_is_refused(s3, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("bundle.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    s3.put("models", "link.tar", buffer.getvalue())
    with pytest.raises(InvalidBundle, match="isn't a plain file"):
        await fetch(
            tmp_path,
            "s3://models/link.tar",
            hashlib.sha256(buffer.getvalue()).hexdigest(),
            reader_secret(tmp_path, s3.url),
        )


async def test_a_bundle_that_is_here_needs_no_store(s3, bundle, tmp_path):
    await fetch(tmp_path, TAR, bundle.digest, reader_secret(tmp_path, s3.url))
    away = reader_secret(tmp_path, f"http://127.0.0.1:{find_port()}")
    got = await fetch(tmp_path, TAR, bundle.digest, away)
    assert got.digest == bundle.digest


async def test_a_bundle_that_is_here_and_was_changed_comes_anew(s3, bundle, tmp_path):
    secret = reader_secret(tmp_path, s3.url)
    got = await fetch(tmp_path, TAR, bundle.digest, secret)
    (got.path / "bundle.json").write_text("{}")
    (tmp_path / "work" / "unfinished-of-a-killed-process").mkdir()
    again = await fetch(tmp_path, TAR, bundle.digest, secret)
    assert (again.path / "bundle.json").read_bytes() == (bundle.path / "bundle.json").read_bytes()
    assert [path.name for path in (tmp_path / "work").iterdir()] == [bundle.digest.replace(":", "-")]


async def test_a_store_needs_a_pin(bundle, tmp_path):
    with pytest.raises(InvalidBundle, match="needs PERENNIAL_BUNDLE_SHA256"):
        await fetch(tmp_path, TAR, None)


@pytest.fixture
def web_root(bundle, tmp_path):
    root = tmp_path / "www"
    root.mkdir()
    (root / "v1.tar").write_bytes(pack_bytes(bundle))
    shutil.copytree(bundle.path, root / "v1")
    write_certificate(tmp_path)
    return root


@pytest.mark.parametrize("name", ["v1.tar", "v1"])
async def test_a_bundle_comes_by_https_with_a_token_and_a_private_authority(bundle, tmp_path, web_root, name):
    secret = write_secret(
        tmp_path, HTTP_BEARER_TOKEN="a-token", **{"ca.crt": (tmp_path / "ca.crt").read_text()}
    )
    options = {"certificate": tmp_path / "server.pem", "authorization": "Bearer a-token"}
    async with run_web_server(web_root, **options) as (url, _):
        got = await fetch(tmp_path, f"{url}/{name}", bundle.digest, secret)
    assert got.digest == bundle.digest


async def test_an_authority_that_nobody_trusts_is_not_asked_for_anything(bundle, tmp_path, web_root):
    async with run_web_server(web_root, tmp_path / "server.pem") as (url, seen):
        with pytest.raises(StoreUnavailable, match="certificate isn't trusted"):
            await fetch(tmp_path, f"{url}/v1.tar", bundle.digest)
        secret = reader_secret(tmp_path, url)
        with pytest.raises(StoreUnavailable, match="certificate isn't trusted"):
            await fetch(tmp_path, TAR, bundle.digest, secret)
    assert seen == []


async def test_a_wrong_password_is_told_and_not_shown(bundle, tmp_path, web_root):
    secret = write_secret(tmp_path, username="shop", password="wrong-password")
    async with run_web_server(web_root, authorization="Basic right") as (url, _):
        with pytest.raises(AccessDenied, match="answers 401") as caught:
            await fetch(tmp_path, f"{url}/v1.tar", bundle.digest, secret)
    assert "wrong-password" not in str(caught.value)


async def test_a_token_does_not_follow_a_redirect_to_another_server(bundle, tmp_path, web_root):
    secret = write_secret(tmp_path, HTTP_BEARER_TOKEN="a-token")
    async with run_web_server(web_root) as (there, seen):
        redirects = {"/v1.tar": f"{there}/v1.tar"}
        async with run_web_server(web_root, redirects=redirects) as (url, _):
            got = await fetch(tmp_path, f"{url}/v1.tar", bundle.digest, secret)
    assert got.digest == bundle.digest
    assert ["Authorization" in request.headers for request in seen] == [False]


@pytest.mark.parametrize("location", ["http://example.com/v1.tar", "file:///etc/passwd", "/v1.tar"])
async def test_a_redirect_in_the_clear_or_without_end_is_not_followed(bundle, tmp_path, web_root, location):
    async with run_web_server(web_root, redirects={"/v1.tar": location}) as (url, _):
        with pytest.raises(StoreUnavailable, match="redirects"):
            await fetch(tmp_path, f"{url}/v1.tar", bundle.digest)


async def test_a_broken_download_is_resumed_where_it_broke(bundle, tmp_path, web_root):
    size = (web_root / "v1.tar").stat().st_size
    async with (
        run_web_server(web_root) as (there, seen),
        run_proxy(int(there.rsplit(":", 1)[1]), [size // 2]) as (url, _),
    ):
        got = await fetch(tmp_path, f"{url}/v1.tar", bundle.digest)
    assert got.digest == bundle.digest
    assert [request.headers.get("Range", "").split("=")[0] for request in seen] == ["", "bytes"]


def test_a_server_serves_a_model_of_a_private_bucket(s3, bundle, tmp_path):
    options = {
        "STORE_SECRET_DIR": str(reader_secret(tmp_path, s3.url)),
        "BUNDLE_SHA256": bundle.digest.removeprefix("sha256:"),
        "WORK_DIR": str(tmp_path / "work"),
    }
    with run_server(tmp_path, TAR, **options) as server:
        httpx.post(f"{server.url}{INFER}", json=build_request(), timeout=30).raise_for_status()
        assert READER[1] not in server.output.read_text()


def test_a_server_that_may_not_read_says_so_where_the_kubelet_looks(s3, bundle, tmp_path):
    options = {
        "STORE_SECRET_DIR": str(reader_secret(tmp_path, s3.url, secret="secret-of-somebody-else")),
        "BUNDLE_SHA256": bundle.digest.removeprefix("sha256:"),
    }
    server = start_server(tmp_path, TAR, **options)
    try:
        got = read_failure(server, tmp_path)
    finally:
        server.stop()
    assert got["reason"] == "AccessDenied"
    assert "correct the Secret of spec.model.secretRef" in got["message"]
    assert "secret-of-somebody-else" not in server.output.read_text()


async def test_an_answer_that_would_unpack_to_anything_is_refused(bundle, tmp_path, web_root):
    async with run_web_server(web_root, headers={"Content-Encoding": "gzip"}) as (url, _):
        with pytest.raises(StoreUnavailable, match="compresses its answers"):
            await fetch(tmp_path, f"{url}/v1.tar", bundle.digest)


async def test_a_pipe_on_a_volume_is_refused_and_not_waited_for(bundle, tmp_path):
    folder = shutil.copytree(bundle.path, tmp_path / "folder")
    (folder / "model.skops").unlink()
    os.mkfifo(folder / "model.skops")
    with pytest.raises(InvalidBundle, match=r"model\.skops isn't a plain file"):
        await fetch(tmp_path, f"file://{folder}", bundle.digest)
    os.mkfifo(tmp_path / "v1.tar")
    with pytest.raises(InvalidBundle, match=r"v1\.tar isn't a plain file"):
        await fetch(tmp_path, f"file://{tmp_path}/v1.tar", bundle.digest)


@pytest.mark.parametrize("name", ["v1.tar", "v1"])
async def test_a_volumes_bundle_has_a_largest_size_too(bundle, tmp_path, web_root, name):
    with pytest.raises(TooLarge, match="is larger than"):
        await fetch(tmp_path, f"file://{web_root}/{name}", bundle.digest, bundle_max_bytes=5000)
    got = await fetch(tmp_path, f"file://{web_root}/{name}", bundle.digest)
    assert got.digest == bundle.digest


def stand_in_secret(tmp_path, url):
    parts = ["DefaultEndpointsProtocol=http", "AccountName=shop", "AccountKey=c2VjcmV0"]
    text = ";".join([*parts, f"BlobEndpoint={url}/shop;"])
    return write_secret(tmp_path, AZURE_STORAGE_CONNECTION_STRING=text)


@pytest.mark.parametrize("scheme", ["gs", "az"])
async def test_googles_and_azures_libraries_read_as_asked(bundle, tmp_path, monkeypatch, scheme):
    data = pack_bytes(bundle)
    async with run_stand_in(data) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        secret = stand_in_secret(tmp_path, url) if scheme == "az" else None
        got = await fetch(tmp_path, f"{scheme}://models/v1.tar", bundle.digest, secret)
        assert got.digest == bundle.digest
        with pytest.raises(BundleNotFound):
            await fetch(tmp_path, f"{scheme}://models/v2.tar", ANY_DIGEST, secret)
        with pytest.raises(AccessDenied) as caught:
            await fetch(tmp_path, f"{scheme}://models/denied.tar", ANY_DIGEST, secret)
    assert "c2VjcmV0" not in str(caught.value)


async def test_a_server_that_waits_for_its_store_is_alive_and_ends_in_time(s3, bundle, tmp_path):
    async with run_proxy(s3.port, ["hang"] * 99) as (url, _):
        options = {
            "STORE_SECRET_DIR": str(reader_secret(tmp_path, url)),
            "BUNDLE_SHA256": bundle.digest.removeprefix("sha256:"),
            "BUNDLE_TIMEOUT_S": "15",
        }
        server = start_server(tmp_path, TAR, **options)
        try:
            await asyncio.to_thread(server.wait_up, "/v2/health/live")
            ready = await asyncio.to_thread(httpx.get, f"{server.url}/v2/health/ready", timeout=5)
            got = await asyncio.to_thread(read_failure, server, tmp_path)
        finally:
            server.stop()
    assert (ready.status_code, ready.json()["loading"]["phase"]) == (503, "Fetching")
    assert got["reason"] == "Timeout"
