"""A bundle in an object store, by fsspec: S3 and its like, Google Cloud Storage, Azure Blob Storage.

Each store's library is imported when it is needed: they take a second and tens of megabytes, which servers with a
bundle of the installation's own store don't pay.
"""

import asyncio
import errno
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from perennial_bundle import BundleNotFound

from perennial_server.attempts import Again
from perennial_server.loading.addresses import Address
from perennial_server.loading.credentials import (
    Credentials,
    build_az_options,
    build_gs_options,
    build_s3_options,
)
from perennial_server.loading.errors import AccessDenied, StoreUnavailable
from perennial_server.loading.sources import PIECE_BYTES, Reading
from perennial_server.loading.web import UNTRUSTED

_CLASSES = {
    "s3": ("s3fs", "S3FileSystem"),
    # Not gcsfs's own choice, which asks more of the account than to read an object.
    "gs": ("gcsfs.core", "GCSFileSystem"),
    "az": ("adlfs", "AzureBlobFileSystem"),
}
# Their own logs quote requests, with headers and all.
_NOISY = ("aiobotocore", "botocore", "s3fs", "gcsfs", "google", "azure", "adlfs", "fsspec")
_CODE = re.compile(r"^[A-Za-z][A-Za-z0-9]{2,63}$")
_REFUSED = frozenset({401, 403})
_PASSING = frozenset({408, 425, 429})
_LASTING_ERRNOS = frozenset({errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.EREMCHG})


def build_options(
    address: Address, credentials: Credentials | None, ca_file: Path | None, stall_s: float
) -> dict[str, Any]:
    """Build what the store's file system is made with.

    Raises
    ------
    AccessDenied
        The Secret lacks what the store needs.
    """
    # adlfs closes itself at the process's end on the loop that it was made with, which must be there then: fsspec's own.
    common = {
        "asynchronous": address.scheme != "az",
        "skip_instance_cache": True,
        "use_listings_cache": False,
    }
    match address.scheme:
        case "s3":
            # One attempt for each call: it is `Downloader` that tries again, and counts.
            config = {
                "connect_timeout": stall_s,
                "read_timeout": stall_s,
                "retries": {"total_max_attempts": 1, "mode": "standard"},
            }
            return common | build_s3_options(credentials, ca_file) | {"config_kwargs": config}
        case "gs":
            return common | build_gs_options(credentials) | {"requests_timeout": stall_s}
        case _:
            return (
                common
                | build_az_options(credentials)
                | {"connection_timeout": stall_s, "read_timeout": stall_s}
            )


class ObjectSource:
    """A place in a bucket. Made inside an event loop.

    Parameters
    ----------
    options
        See `build_options`.
    """

    def __init__(self, address: Address, options: dict[str, Any]) -> None:
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        module, name = _CLASSES[address.scheme]
        self._address = address
        self._path = f"{address.place}/{address.path}"
        try:
            self._fs = getattr(import_module(module), name)(**options)
        except ValueError as error:
            raise AccessDenied(
                f"the Secret of spec.model.secretRef can't be used: {describe_error(error)}"
            ) from None
        self._fs.retries = 1

    async def close(self) -> None:
        """Close the connections."""
        match self._address.scheme:
            case "s3":
                if self._fs._s3 is not None:  # noqa: SLF001  s3fs offers no other way to close
                    await self._fs._s3.close()  # noqa: SLF001
            case "gs":
                if self._fs._session is not None:  # noqa: SLF001  the same
                    await self._fs._session.close()  # noqa: SLF001
            case _:
                await self._run(self._fs.service_client.close())

    @asynccontextmanager
    async def open(self, name: str, start: int) -> AsyncIterator[Reading]:
        """Read a file from a byte on; see `Source.open`."""
        path = f"{self._path}/{name}" if name else self._path
        try:
            info = await self._call(self._fs._info, path)  # noqa: SLF001  fsspec's names for what can be awaited
        except AccessDenied:
            # What was asked may have been a HEAD, whose answer can't say why; a byte's can.
            await self._call(self._fs._cat_file, path, start=0, end=1)  # noqa: SLF001
            raise
        if info.get("type") != "file" or info.get("size") is None:
            raise BundleNotFound(f"{self._address} is a folder: a name that ends in .tar must be a tar's")
        yield Reading(start, int(info["size"]), self._read(path, start, int(info["size"])))

    async def _read(self, path: str, start: int, size: int) -> AsyncIterator[bytes]:
        while start < size:
            end = min(start + PIECE_BYTES, size)
            piece = await self._call(self._fs._cat_file, path, start=start, end=end)  # noqa: SLF001
            if len(piece) != end - start:
                raise Again(f"{len(piece)} bytes came where {end - start} were asked for")
            yield piece
            start = end

    async def _call(self, method: Callable[..., Any], path: str, **arguments: Any) -> Any:
        try:
            return await self._run(method(path, **arguments))
        except Exception as error:  # noqa: BLE001  each library has its own errors, and new ones with each version
            raise self._translate(error) from None

    async def _run(self, call: Coroutine[Any, Any, Any]) -> Any:
        if self._fs.asynchronous:
            return await call
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._fs.loop))

    def _translate(self, error: Exception) -> Exception:
        status = find_status(error)
        if isinstance(error, FileNotFoundError) or status == 404:  # noqa: PLR2004
            return BundleNotFound(
                f"there is nothing at {self._address}: push the bundle there, or correct spec.model.uri"
            )
        said = describe_error(error)
        if isinstance(error, PermissionError) or status in _REFUSED or is_about_credentials(error):
            return AccessDenied(
                f"{self._address} can't be read: {said}; correct the Secret of spec.model.secretRef, or let its owner "
                "read there. A store may answer so, too, if there is nothing"
            )
        if is_about_trust(error):
            return StoreUnavailable(UNTRUSTED.format(said))
        lasting = status is not None and 300 <= status < 500 and status not in _PASSING  # noqa: PLR2004
        if lasting or (status is None and getattr(error, "errno", None) in _LASTING_ERRNOS):
            return StoreUnavailable(
                f"the store refuses: {said}; are spec.model.uri and the Secret's region and endpoint right?"
            )
        return Again(said)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def find_status(error: BaseException) -> int | None:
    """Return the HTTP status behind a store's error: each library keeps it elsewhere."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
        for status in (
            metadata.get("HTTPStatusCode"),
            getattr(cause, "status_code", None),
            getattr(cause, "status", None),
            getattr(cause, "code", None),
        ):
            if isinstance(status, int) and 300 <= status < 600:  # noqa: PLR2004
                return status
    return None


def describe_error(error: BaseException) -> str:
    """Name an error by its code and status, never by its text.

    The text may quote the answer of whatever an endpoint names, or a connection string that can't be read; and it is
    shown to everybody who may see the ModelDeployment.
    """
    name = type(error).__name__
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        found = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        code = str(found or getattr(cause, "error_code", None) or "")
        if _CODE.match(code):
            name = code
            break
    status = find_status(error)
    return name if status is None else f"{name}, status {status}"


def is_about_trust(error: BaseException) -> bool:
    """Tell errors of certificates, which no other attempt mends."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))


def is_about_credentials(error: BaseException) -> bool:
    """Tell errors that carry no status: none was sent, since there was nothing to sign it with."""
    names = {type(cause).__name__ for cause in _causes(error)}
    return bool(
        names & {"NoCredentialsError", "PartialCredentialsError", "RefreshError", "ClientAuthenticationError"}
    ) or (str(error).startswith("Forbidden"))
