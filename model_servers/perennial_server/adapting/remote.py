"""The model behind HTTP: called by the prediction threads, while its connections live on the event loop."""

import asyncio
import logging
from types import TracebackType
from typing import Self

import aiohttp
import pandas as pd
from perennial_bundle import Outputs, Schema

from perennial_server.adapting.declaration import Declaration
from perennial_server.adapting.dialect import read_answer, write_request
from perennial_server.errors import ModelUnreachable

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 64 * 2**20
MAX_SHOWN = 300
CHUNK_BYTES = 2**16
# Shorter than any common server keeps an idle connection: none is used that the other side is just closing.
KEEP_ALIVE_S = 1.0
PROBE_INTERVAL_S = 1.0
PROBE_TIMEOUT_S = 2.0
# For the thread that waits, beyond the call's own time: only a loop that has stopped lets it wait so long.
SPARE_S = 5.0
# Whoever answers so will answer the next request so, too: trying a batch's requests one by one would make it worse.
BUSY = frozenset({429, 502, 503, 504})


class UpstreamError(Exception):
    """The model answered that it failed."""


class RemoteModel:
    """A model in an image of its own; an asynchronous context manager, to be entered on the event loop.

    Parameters
    ----------
    declaration
        How it is asked.
    """

    def __init__(self, declaration: Declaration) -> None:
        self.manifest = declaration
        self.is_up = False
        self._base = f"http://127.0.0.1:{declaration.port}"

    @property
    def schema(self) -> Schema:
        """Its inputs and outputs."""
        return self.manifest.columns

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=64, keepalive_timeout=KEEP_ALIVE_S),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    def predict(self, frame: pd.DataFrame) -> Outputs:
        """Predict rows that `Schema.check` built; blocks, and must not be called on the event loop.

        Raises
        ------
        ModelUnreachable
            It doesn't answer, not in time, or is overloaded.
        UpstreamError, AnswerMismatch
            It answered an error, or otherwise than declared.
        """
        body = write_request(self.manifest, frame)
        future = asyncio.run_coroutine_threadsafe(self._post(body), self._loop)
        try:
            answer = future.result(self.manifest.timeout_s + SPARE_S)
        except TimeoutError:
            future.cancel()
            raise ModelUnreachable(
                504, f"the model's own server hasn't answered after {self.manifest.timeout_s:g} s"
            ) from None
        return read_answer(self.manifest, answer, len(frame))

    async def _post(self, body: bytes) -> bytes:
        """Post rows within the call's time. A connection that broke is tried once more: predicting changes nothing."""
        async with asyncio.timeout(self.manifest.timeout_s):
            try:
                return await self._post_once(body)
            except aiohttp.ClientConnectorError as error:
                raise self._unreachable(error) from error
            except aiohttp.ClientError:
                pass
            try:
                return await self._post_once(body)
            except aiohttp.ClientError as error:
                raise self._unreachable(error) from error

    async def _post_once(self, body: bytes) -> bytes:
        path = self.manifest.path
        async with self._session.post(
            self._base + path, data=body, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=None)
        ) as response:
            answer = await _read_bounded(response)
            if response.ok and response.status < 300:  # noqa: PLR2004  `ok` is anything below 400
                return answer
            said = answer[:MAX_SHOWN].decode("utf-8", "replace").strip()
            text = f"POST {path} of the model's own server answered {response.status}: {said}"
            if response.status in BUSY:
                raise ModelUnreachable(503, text)
            raise UpstreamError(text)

    def _unreachable(self, error: Exception) -> ModelUnreachable:
        said = str(error) or type(error).__name__
        return ModelUnreachable(503, f"the model's own server can't be reached: {said}; try again")

    async def wait_until_up(self) -> None:
        """Wait until the model can predict, for as long as it takes."""
        while True:
            if await self.probe():
                return
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def watch(self) -> None:
        """Go on asking whether it can predict; until cancelled."""
        while True:
            await asyncio.sleep(PROBE_INTERVAL_S)
            await self.probe()

    async def probe(self) -> bool:
        """Ask whether the model can predict, and keep the answer in `is_up`."""
        problem = await self._find_problem()
        if (problem is None) != self.is_up:
            self.is_up = problem is None
            if problem is None:
                logger.info("the model's own server is ready port=%d", self.manifest.port)
            else:
                logger.warning("the model's own server isn't ready: %s", problem)
        return self.is_up

    async def _find_problem(self) -> str | None:
        path = self.manifest.ready_path
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                if path is None:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.manifest.port)
                    writer.close()
                    return None
                async with self._session.get(self._base + path, allow_redirects=False) as response:
                    is_good = 200 <= response.status < 300  # noqa: PLR2004
                    return None if is_good else f"GET {path} answered {response.status}"
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            return f"{type(error).__name__} {error}".strip()


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """Read a body that may not fill the memory."""
    parts, size = [], 0
    async for part in response.content.iter_chunked(CHUNK_BYTES):
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            response.close()
            raise UpstreamError(f"the model's own server answered more than {MAX_ANSWER_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)
