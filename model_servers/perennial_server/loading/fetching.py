"""Bring the bundle here, wherever it is, and check its digest before anything of it is used."""

import asyncio
from pathlib import Path
from urllib.parse import unquote, urlsplit

from perennial_bundle import Bundle, BundleNotFound, DigestMismatch, InvalidBundle, Limits, load, unpack

from perennial_server.errors import StartupError
from perennial_server.observer_client import ObserverClient
from perennial_server.settings import Settings


async def fetch_bundle(settings: Settings, client: ObserverClient | None, work_dir: Path) -> Bundle:
    """Fetch and open the bundle that the settings name.

    Parameters
    ----------
    settings
        Their ``bundle_uri`` and ``bundle_sha256`` count.
    client
        For ``perennial://``.
    work_dir
        Directory for what is fetched.

    Raises
    ------
    BundleError
        It isn't there, isn't whole, or isn't what the digest says.
    StartupError
        It can't be reached.
    """
    pin = None if settings.bundle_sha256 is None else f"sha256:{settings.bundle_sha256}"
    uri = urlsplit(settings.bundle_uri)
    if uri.scheme == "perennial":
        digest = settings.bundle_uri.removeprefix("perennial://")
        if pin not in {None, digest}:
            raise DigestMismatch(f"the URI names {digest} where {pin} is pinned")
        if client is None:
            raise StartupError("perennial:// needs PERENNIAL_OBSERVER_URL")
        archive = work_dir / "bundle.tar"
        await client.download_bundle(digest, archive, max_bytes=Limits().total_bytes)
        bundle = await asyncio.to_thread(_open_archive, archive, work_dir / "bundle", digest)
        archive.unlink()
        return bundle
    if uri.scheme == "file" and not uri.netloc:
        return await asyncio.to_thread(_open_path, Path(unquote(uri.path)), work_dir / "bundle", pin)
    raise InvalidBundle(
        f"{settings.bundle_uri!r} isn't perennial://sha256:<hex> or file:///<path>; set spec.model.uri accordingly"
    )


def _open_path(path: Path, unpacked: Path, pin: str | None) -> Bundle:
    if path.is_file():
        return _open_archive(path, unpacked, pin)
    if not path.exists():
        raise BundleNotFound(f"there is nothing at {path}; is the path in spec.model.uri right?")
    return load(path, expected_digest=pin)


def _open_archive(archive: Path, unpacked: Path, digest: str | None) -> Bundle:
    with archive.open("rb") as stream:
        got = unpack(stream, unpacked, expected_digest=digest)
    bundle = load(unpacked)
    # A tar that other tools wrote is not the deterministic one, and yet the one that its address names.
    bundle.digest = got
    return bundle
