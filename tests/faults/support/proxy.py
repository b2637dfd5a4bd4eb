"""A TLS proxy between one operator process and the API server that counts its writes and plays faults.

It gives each operator a world of its own: cluster-wide collections are narrowed to one namespace, so that several
operators work side by side and no stranger's object disturbs the count. Numbered are all writes but those of Leases
(there are as many as the run has seconds) and of Events (told after the status, and by design lost in a crash).
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from tests.faults.support.calls import Call, Record, WriteClass, read_call
from tests.faults.support.certificates import Certificates, write_certificates, write_kubeconfig
from tests.faults.support.events import EventFilter, split_lines
from tests.faults.support.loop_thread import LoopThread
from tests.faults.support.plans import Answer, CrashPoint, Fault, Predicate, Side
from tests.faults.support.upstream import Upstream

MOST_BYTES = 32 * 2**20
USER_AGENT = "perennial-faults"
# Of the connection, not of the message; and what aiohttp sets anew.
_HOP_HEADERS = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
    | {"content-length", "host", "accept-encoding", "content-encoding", "user-agent", "date", "server"}
)


@dataclass
class HeldWrite:
    """A write that waits in the proxy: `reached` once it is there, `answered` once the API server has decided."""

    matches: Predicate
    reached: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)
    status: int | None = None
    call: Call | None = None
    _released: asyncio.Event = field(default_factory=asyncio.Event)


class FaultProxy:
    """One operator's way to the API server.

    Its state belongs to its loop's thread; the methods without underscore may be called from any other.

    Parameters
    ----------
    directory
        For certificates and the kubeconfig.
    name
        Tells operators apart in the API server's audit log: the user agent becomes `perennial-faults/<name>`.
    scope
        Paths of collections to be narrowed, and what they become.
    """

    def __init__(
        self, upstream: Upstream, directory: Path, *, name: str, scope: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._upstream = upstream
        self._directory = directory
        self._scope = dict(scope or {})
        self._certificates: Certificates = write_certificates(directory)
        self._records: list[Record] = []
        self._number = 0
        self._point: CrashPoint | None = None
        self._kill: Callable[[], None] = _nobody
        self._crashed_at_s: float | None = None
        self._answer: Answer | None = None
        self._held: HeldWrite | None = None
        self._watches: set[asyncio.Transport] = set()
        self._waiting = 0
        self._port = 0

    def __enter__(self) -> Self:
        self._loop = LoopThread(f"proxy-{self.name}")
        self._loop.run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._stop())
        self._loop.close()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def certificates(self) -> Certificates:
        return self._certificates

    def write_kubeconfig(self, token: str) -> Path:
        path = self._directory / "kubeconfig"
        return write_kubeconfig(path, self.url, self._certificates.authority, token)

    def begin(self, point: CrashPoint | None = None, kill: Callable[[], None] | None = None) -> None:
        """Count from here on, and call `kill` once at the point."""

        def set_up() -> None:
            self._records, self._number = [], 0
            self._point, self._kill, self._crashed_at_s = point, kill or _nobody, None

        self._loop.call(set_up)

    def records(self) -> tuple[Record, ...]:
        return self._loop.call(lambda: tuple(self._records))

    def count_writes(self) -> int:
        return self._loop.call(lambda: self._number)

    def crashed_at_s(self) -> float | None:
        """Return when the crash point was reached, on the monotonic clock."""
        return self._loop.call(lambda: self._crashed_at_s)

    def inject(self, fault: Fault) -> None:
        """Play a fault until `heal`."""

        def set_up() -> None:
            if not isinstance(fault, Answer):
                self._flow.clear()
                return
            self._answer = fault
            self._end_watches()

        self._loop.call(set_up)

    def heal(self) -> None:
        def set_up() -> None:
            self._answer = None
            self._flow.set()

        self._loop.call(set_up)

    def count_waiting(self) -> int:
        """Return how many requests are held back by a hang."""
        return self._loop.call(lambda: self._waiting)

    def hold_next_write(self, matches: Predicate) -> HeldWrite:
        """Have the next numbered write that matches wait in the proxy; `release` sends it on, however late."""

        def set_up() -> HeldWrite:
            self._held = HeldWrite(matches)
            return self._held

        return self._loop.call(set_up)

    def release(self, held: HeldWrite) -> None:
        self._loop.call(held._released.set)

    def hold_events(self, plural: str) -> None:
        self._loop.call(self._events.hold, plural)

    def release_events(self, plural: str) -> None:
        self._loop.call(self._events.release, plural)

    def drop_events(self, plural: str, count: int) -> None:
        """Let the next `count` events of a kind vanish."""
        self._loop.call(self._events.drop, plural, count)

    def count_dropped(self, plural: str) -> int:
        return self._loop.call(lambda: self._events.dropped[plural])

    async def _start(self) -> None:
        self._events = EventFilter()
        self._flow = asyncio.Event()
        self._flow.set()
        connector = aiohttp.TCPConnector(limit=0, ssl=self._upstream.tls)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._certificates.server_tls())
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        self._end_watches()
        await self._runner.cleanup()
        await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        is_watch = request.query.get("watch") in ("1", "true")
        call = read_call(request.method, request.path, is_watch=is_watch, body=body)
        self._waiting += 1
        try:
            await self._flow.wait()
        finally:
            self._waiting -= 1
        if self._answer is not None:
            self._note(call, 0, None)
            return _refuse(self._answer)
        if is_watch:
            return await self._watch(request, call)
        # A write that was sent is a write that was made, whatever becomes of the one who sent it.
        response = await asyncio.shield(asyncio.create_task(self._pass_on(request, call, body)))
        await self._flow.wait()
        return response

    async def _pass_on(self, request: web.Request, call: Call, body: bytes) -> web.Response:
        number = self._take_number(call)
        held = self._take_held(call, number)
        if held is not None:
            held.call = call
            held.reached.set()
            await held._released.wait()
        if self._is_here(number, Side.BEFORE):
            self._note(call, number, None)
            return self._crash(request)
        async with self._send(request, body) as answer:
            content = await answer.read()
        self._note(call, number, answer.status)
        if held is not None:
            held.status = answer.status
            held.answered.set()
        if self._is_here(number, Side.AFTER):
            return self._crash(request)
        return web.Response(status=answer.status, headers=_end_to_end(answer.headers), body=content)

    async def _watch(self, request: web.Request, call: Call) -> web.StreamResponse:
        assert request.transport is not None, "whoever asks is connected"
        transport = request.transport
        self._watches.add(transport)
        try:
            async with self._send(request, b"") as answer:
                self._note(call, 0, answer.status)
                response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
                response.enable_chunked_encoding()
                await response.prepare(request)
                async for line in split_lines(answer.content.iter_any()):
                    passes = await self._events.let_through(call.plural, line)
                    await self._flow.wait()
                    if passes:
                        await response.write(line)
                await response.write_eof()
                return response
        except ConnectionResetError:  # it went while an event was on its way
            return web.Response(status=500)
        finally:
            self._watches.discard(transport)

    def _end_watches(self) -> None:
        for transport in self._watches:
            transport.abort()

    def _send(self, request: web.Request, body: bytes) -> Any:
        path = self._scope.get(request.path, request.path)
        query = f"?{request.rel_url.raw_query_string}" if request.rel_url.raw_query_string else ""
        headers = {**_end_to_end(request.headers), "User-Agent": f"{USER_AGENT}/{self.name}"}
        return self._session.request(
            request.method,
            URL(f"{self._upstream.server}{path}{query}", encoded=True),
            headers=headers,
            data=body or None,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            skip_auto_headers=("Accept-Encoding", "Content-Type"),
        )

    def _take_number(self, call: Call) -> int:
        if call.write_class is not WriteClass.NUMBERED:
            return 0
        self._number += 1
        return self._number

    def _take_held(self, call: Call, number: int) -> HeldWrite | None:
        held = self._held
        if held is None or not number or not held.matches(call):
            return None
        self._held = None
        return held

    def _is_here(self, number: int, side: Side) -> bool:
        return number > 0 and self._point == CrashPoint(number, side)

    def _crash(self, request: web.Request) -> web.Response:
        self._point = None
        self._crashed_at_s = time.monotonic()
        self._kill()
        _abort(request)
        return web.Response(status=500)  # nobody is there to read it

    def _note(self, call: Call, number: int, status: int | None) -> None:
        self._records.append(Record(time.monotonic(), call, number, status))


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_HEADERS}


def _refuse(answer: Answer) -> web.Response:
    headers = {"Retry-After": str(answer.retry_after_s)} if answer.retry_after_s else {}
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "injected by the fault proxy",
        "code": answer.status,
    }
    return web.json_response(status, status=answer.status, headers=headers)


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _nobody() -> None:
    """Kill nobody: no crash was asked for."""
