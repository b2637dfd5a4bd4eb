"""Bring the bundle here, wherever it is, and check its digest before anything of it is used."""

import asyncio
import random
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from perennial_bundle import Bundle, BundleNotFound, DigestMismatch, InvalidBundle, load, pack, unpack
from perennial_bundle.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, parse_manifest

from perennial_server.errors import ObserverUnavailable, StartupError
from perennial_server.loading.addresses import OBJECT_SCHEMES, parse_address
from perennial_server.loading.cache import Cache
from perennial_server.loading.credentials import read_credentials
from perennial_server.loading.errors import LoadTimeout, StoreUnavailable, TooLarge
from perennial_server.loading.objects import ObjectSource, build_options
from perennial_server.loading.progress import Progress
from perennial_server.loading.sources import Downloader, Patience, Source
from perennial_server.loading.web import WebSource, build_authorization
from perennial_server.settings import Settings

OBSERVER_SCHEME = "perennial://"
UNPACKED = "bundle"


async def fetch_bundle(settings: Settings, work_dir: Path, progress: Progress) -> Bundle:
    """Fetch and open the bundle that the settings name.

    Parameters
    ----------
    settings
        Their ``bundle_*`` and ``store_secret_dir`` count, and how the observer is reached.
    work_dir
        Directory for what is fetched. What is whole there isn't fetched again.
    progress
        Told how far it is.

    Raises
    ------
    BundleError
        It isn't there, isn't whole, or isn't what the digest says.
    StartupError
        It can't be reached, or not in time.
    """
    pin = None if settings.bundle_sha256 is None else f"sha256:{settings.bundle_sha256}"
    uri, cache = settings.bundle_uri, Cache(work_dir)
    try:
        async with asyncio.timeout(settings.bundle_timeout_s):
            if uri.startswith("file:"):
                return await asyncio.to_thread(_open_local, uri, cache, pin, settings.bundle_max_bytes)
            return await _fetch_pinned(settings, _find_digest(uri, pin), cache, progress)
    except TimeoutError:
        raise LoadTimeout(
            f"the bundle wasn't here after {settings.bundle_timeout_s:g} s; {progress.done_bytes} of "
            f"{progress.total_bytes or 'an unknown number of'} bytes came"
        ) from None


def _find_digest(uri: str, pin: str | None) -> str:
    if uri.startswith(OBSERVER_SCHEME):
        digest = uri.removeprefix(OBSERVER_SCHEME)
        if pin not in {None, digest}:
            raise DigestMismatch(f"the URI names {digest} where {pin} is pinned")
        return digest
    parse_address(uri)
    if pin is None:
        raise InvalidBundle(f"{uri} needs PERENNIAL_BUNDLE_SHA256: what is there could change")
    return pin


async def _fetch_pinned(settings: Settings, digest: str, cache: Cache, progress: Progress) -> Bundle:
    found = await asyncio.to_thread(cache.find, digest)
    if found is not None:
        return found
    is_ours = settings.bundle_uri.startswith(OBSERVER_SCHEME)
    source = open_observer(settings, digest) if is_ours else open_store(settings)
    rng = random.Random()  # noqa: S311  jitter
    patience = Patience(
        settings.bundle_attempts, settings.bundle_stall_s, settings.backoff_base_s, settings.backoff_cap_s
    )
    downloader = Downloader(source, patience, progress, rng, max_bytes=settings.bundle_max_bytes)
    fetch = _fetch_tar if is_ours or parse_address(settings.bundle_uri).is_tar else _fetch_folder
    try:
        with cache.begin() as directory:
            await fetch(downloader, directory, digest, progress)
            return await asyncio.to_thread(_keep, cache, directory, digest)
    except StoreUnavailable as error:
        if is_ours:
            raise ObserverUnavailable(f"the bundle can't be fetched: {error}") from error
        raise
    finally:
        await source.close()


async def _fetch_tar(downloader: Downloader, directory: Path, digest: str, progress: Progress) -> None:
    archive = directory / "bundle.tar"
    got = f"sha256:{await downloader.fetch('', archive)}"
    if got != digest:
        raise DigestMismatch(f"the archive is {got} where {digest} was asked for")
    progress.enter("Checking")
    await asyncio.to_thread(_unpack, archive, directory, digest)
    archive.unlink()


async def _fetch_folder(downloader: Downloader, directory: Path, digest: str, progress: Progress) -> None:
    """Fetch the manifest, then the files that it lists: what else lies there isn't the bundle's, and isn't asked for."""
    unpacked = directory / UNPACKED
    unpacked.mkdir()
    await downloader.fetch(MANIFEST_FILE, unpacked / MANIFEST_FILE, max_bytes=MAX_MANIFEST_BYTES)
    manifest = parse_manifest((unpacked / MANIFEST_FILE).read_bytes())
    # Nobody has told the size of the whole.
    progress.total_bytes = None
    for name, want in sorted(manifest.files.items()):
        got = await downloader.fetch(name, unpacked / name)
        if got != want:
            raise DigestMismatch(f"{name} is sha256:{got[:12]}… where the manifest says sha256:{want[:12]}…")
    progress.enter("Checking")
    got = await asyncio.to_thread(pack, unpacked, None)
    if got != digest:
        raise DigestMismatch(f"the bundle is {got} where {digest} was asked for")


def _unpack(archive: Path, directory: Path, digest: str | None) -> str:
    with archive.open("rb") as stream:
        return unpack(stream, directory / UNPACKED, expected_digest=digest)


def _keep(cache: Cache, directory: Path, digest: str) -> Bundle:
    bundle = load(cache.keep(directory / UNPACKED, digest))
    # A tar that other tools wrote is not the deterministic one, and yet the one that its address names.
    bundle.digest = digest
    return bundle


def open_observer(settings: Settings, digest: str) -> Source:
    """Open the installation's own store. Refusals may pass: the observer may not have heard of a new account yet."""
    if settings.observer_url is None:
        raise StartupError("perennial:// needs PERENNIAL_OBSERVER_URL")

    def authorize() -> Mapping[str, str]:
        token = settings.read_token()
        return {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}

    return WebSource(
        f"{settings.observer_url.rstrip('/')}/v1/bundles/{digest}",
        authorize,
        missing=f"the observer has no bundle {digest}; push it with kubectl perennial push",
        retry_refusals=True,
    )


def open_store(settings: Settings) -> Source:
    """Open the store that the URI names, with the credentials of the mounted Secret.

    Raises
    ------
    AccessDenied
        The Secret lacks what the store needs.
    """
    address, directory = parse_address(settings.bundle_uri), settings.store_secret_dir
    credentials = None if directory is None else read_credentials(directory)
    has_ca = directory is not None and credentials is not None and credentials.get("ca.crt") is not None
    ca_file = directory / "ca.crt" if directory is not None and has_ca else None
    if address.scheme in OBJECT_SCHEMES:
        return ObjectSource(address, build_options(address, credentials, ca_file, settings.bundle_stall_s))
    authorization = build_authorization(credentials)
    return WebSource(
        str(address),
        lambda: authorization,
        missing=f"there is nothing at {address}: put the bundle there, or correct spec.model.uri",
        ca_file=ca_file,
    )


def _open_local(uri: str, cache: Cache, pin: str | None, max_bytes: int) -> Bundle:
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc or not path.is_absolute():
        raise InvalidBundle(f"{uri[:200]!r} isn't file:///<path>; set spec.model.uri accordingly")
    if not path.exists():
        raise BundleNotFound(f"there is nothing at {path}; is the path in spec.model.uri right?")
    if path.is_dir():
        _check_files(path, max_bytes)
        return load(path, expected_digest=pin)
    _check_regular(path, max_bytes)
    found = cache.find(pin)
    if found is not None:
        return found
    with cache.begin() as directory:
        return _keep(cache, directory, _unpack(path, directory, pin))


def _check_files(directory: Path, max_bytes: int) -> None:
    """Refuse what isn't a plain file before anything opens it: a pipe would be waited for without end."""
    if not (directory / MANIFEST_FILE).exists():
        raise BundleNotFound(f"there is no {MANIFEST_FILE} in {directory}")
    left_bytes = max_bytes - _check_regular(directory / MANIFEST_FILE, MAX_MANIFEST_BYTES)
    manifest = parse_manifest((directory / MANIFEST_FILE).read_bytes())
    for name in manifest.files:
        if (directory / name).exists():
            left_bytes -= _check_regular(directory / name, left_bytes)


def _check_regular(path: Path, max_bytes: int) -> int:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise InvalidBundle(f"{path.name} isn't a plain file")
    if found.st_size > max_bytes:
        raise TooLarge(f"{path.name} is larger than the {max_bytes} bytes that the server takes")
    return found.st_size
