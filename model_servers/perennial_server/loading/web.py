"""A bundle behind HTTP: any web server, and the observer's own store."""

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp
from perennial_bundle import BundleNotFound

from perennial_server.attempts import Again, read_retry_after_s
from perennial_server.loading.addresses import is_loopback
from perennial_server.loading.credentials import Credentials
from perennial_server.loading.errors import AccessDenied, StoreUnavailable
from perennial_server.loading.sources import PIECE_BYTES, Reading

MAX_REDIRECTS = 5
UNTRUSTED = (
    "the store's certificate isn't trusted: put that of the authority that signed it into ca.crt of the Secret of "
    "spec.model.secretRef ({})"
)
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSED = frozenset({401, 403})
_GONE = frozenset({404, 410})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Headers = Mapping[str, str]


class WebSource:
    """A place on a web server. Made inside an event loop.

    Parameters
    ----------
    base
        URL of the tar or of the folder.
    headers
        Called for each request: a token may be rotated. Sent to this server only.
    missing
        What to do if there is nothing.
    ca_file
        PEM of the authorities to trust in place of the public ones.
    retry_refusals
        Whether 401 and 403 may pass.
    """

    def __init__(
        self,
        base: str,
        headers: Callable[[], Headers],
        *,
        missing: str,
        ca_file: Path | None = None,
        retry_refusals: bool = False,
    ) -> None:
        self._base = base
        self._headers = headers
        self._missing = missing
        self._passing = _PASSING | _REFUSED if retry_refusals else _PASSING
        # What is compressed on the way would have no known size, and could unpack to anything.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=2, ssl=_build_context(ca_file)),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    @asynccontextmanager
    async def open(self, name: str, start: int) -> AsyncIterator[Reading]:
        """Read a file from a byte on; see `Source.open`."""
        async with AsyncExitStack() as stack:
            answer = await self._ask(f"{self._base}/{name}" if name else self._base, start, stack)
            self._check(answer, name)
            yield _read_head(answer, start)

    async def _ask(self, url: str, start: int, stack: AsyncExitStack) -> aiohttp.ClientResponse:
        origin = _origin(url)
        for _ in range(MAX_REDIRECTS + 1):
            # Another server has no business with what is secret between us and this one.
            headers = dict(self._headers()) if _origin(url) == origin else {}
            headers["Accept-Encoding"] = "identity"
            if start:
                headers["Range"] = f"bytes={start}-"
            try:
                answer = await stack.enter_async_context(
                    self._session.get(url, headers=headers, allow_redirects=False)
                )
            except aiohttp.ClientSSLError as error:
                raise StoreUnavailable(UNTRUSTED.format(type(error).__name__)) from None
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or location is None:
                return answer
            url = follow(url, location)
        raise StoreUnavailable(f"the server redirects more than {MAX_REDIRECTS} times")

    def _check(self, answer: aiohttp.ClientResponse, name: str) -> None:
        status = answer.status
        if status in self._passing:
            raise Again(f"status {status}", read_retry_after_s(answer))
        if status in _GONE:
            raise BundleNotFound(f"{name}: {self._missing}" if name else self._missing)
        if status in _REFUSED:
            raise AccessDenied(
                f"the server answers {status}: correct the token, or username and password, in the Secret of "
                "spec.model.secretRef"
            )
        if status not in {200, 206}:
            raise StoreUnavailable(f"the server answers {status}; is the address in spec.model.uri right?")
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise StoreUnavailable(
                "the server compresses its answers, though it was asked not to: switch that off"
            )


def follow(url: str, location: str) -> str:
    """Return the address that a redirect names.

    Only what is this machine's own may send to this machine's own: what listens there, such as a proxy's admin port,
    isn't for a server elsewhere to ask.

    Raises
    ------
    StoreUnavailable
        It names none, or one in the clear.
    """
    try:
        target = urljoin(url, location)
        before, after = urlsplit(url), urlsplit(target)
        hosts = (before.hostname or "", after.hostname or "")
    except ValueError:
        raise StoreUnavailable("the server redirects to what is no address") from None
    is_near = after.scheme == "http" and all(map(is_loopback, hosts))
    if after.scheme != "https" and not is_near:
        raise StoreUnavailable(f"the server redirects to {after.scheme[:20]}://, which isn't followed")
    return target


def build_authorization(credentials: Credentials | None) -> Headers:
    """Build the headers that the Secret asks for.

    Raises
    ------
    AccessDenied
        It holds neither a token nor a user with a password.
    """
    if credentials is None:
        return {}
    token = credentials.get("HTTP_BEARER_TOKEN")
    if token is not None:
        if not token.isascii() or not token.isprintable():
            raise AccessDenied(
                "HTTP_BEARER_TOKEN in the Secret of spec.model.secretRef holds what no header may"
            )
        return {"Authorization": f"Bearer {token}"}
    user = credentials.get("username")
    if user is None and credentials.get("ca.crt") is not None:
        return {}
    user = credentials.need("username", "https:// without HTTP_BEARER_TOKEN")
    password = credentials.need("password", "https:// with a username")
    if ":" in user:
        raise AccessDenied(
            "username in the Secret of spec.model.secretRef holds a colon, which HTTP doesn't allow"
        )
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


def _build_context(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_file))
    except (OSError, ssl.SSLError) as error:
        raise AccessDenied(
            f"ca.crt in the Secret of spec.model.secretRef isn't a certificate in PEM: {type(error).__name__}"
        ) from None


def _read_head(answer: aiohttp.ClientResponse, start: int) -> Reading:
    pieces = answer.content.iter_chunked(PIECE_BYTES)
    length = answer.content_length
    if answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):  # noqa: PLR2004
        return Reading(start, None if length is None else start + length, pieces)
    if answer.status == 206:  # noqa: PLR2004
        raise StoreUnavailable("the server answers with another part of the file than it was asked for")
    return Reading(0, length, pieces)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
