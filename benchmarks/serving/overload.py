"""Several times more requests than the server can answer, whether it answers or not: does it go on at capacity?

Open loop: requests go out at their times, each on a connection that waits for nothing; connections are kept alive while
the server lets them, and opened anew where it doesn't. Goodput is answers of status 200 in a second.
"""

import asyncio
import resource
import time
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.serving.client import AnswerReader, Load, measure
from benchmarks.serving.measuring import Plan, requests, serving
from benchmarks.serving.peers import ALL
from benchmarks.serving.processes import memory_mib
from benchmarks.serving.subject import Subject

MAX_CONNECTIONS = 6000
SPARE_FILES = 500
TICK_S = 0.002
PROGRESS_S = 5
CAPACITY_S = 10
WANTED_SHARE = 0.9


@dataclass
class Offered:
    """What became of the requests: answers by status, those cut off, those for which no connection was left."""

    statuses: dict[int, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)
    broken: int = 0
    no_connection: int = 0
    waiting: int = 0


class OneShot(asyncio.Protocol):
    """A connection of the open loop: idle in the pool, or waiting for one answer."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._reader = AnswerReader()
        self._transport: asyncio.Transport | None = None
        self._sent_s: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's isn't a subclass

    def send(self, request: bytes) -> None:
        assert self._transport is not None
        self._sent_s = time.perf_counter()
        self._transport.write(request)

    @property
    def is_waiting(self) -> bool:
        return self._sent_s is not None

    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def data_received(self, data: bytes) -> None:
        answer = self._reader.feed(data)
        if answer is None or self._sent_s is None:
            return
        status, _, closes = answer
        offered = self._pool.offered
        offered.statuses[status] = offered.statuses.get(status, 0) + 1
        if status == 200:
            offered.latencies_s.append(time.perf_counter() - self._sent_s)
        self._sent_s = None
        if closes:
            self.abort()
        else:
            self._pool.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._pool.connections.discard(self)
        if self._sent_s is not None:
            self._pool.offered.broken += 1

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Pool:
    """The connections to one server."""

    def __init__(self, port: int) -> None:
        self.offered = Offered()
        self.idle: deque[OneShot] = deque()
        self.connections: set[OneShot] = set()
        self._port = port
        self._opening: set[asyncio.Task[None]] = set()

    def send(self, request: bytes) -> None:
        """Send on an idle connection, or on a new one."""
        while self.idle:
            connection = self.idle.popleft()
            if connection.is_open():
                connection.send(request)
                return
        if len(self.connections) + len(self._opening) >= MAX_CONNECTIONS:
            self.offered.no_connection += 1
            return
        task = asyncio.get_running_loop().create_task(self._open(request))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, request: bytes) -> None:
        try:
            async with asyncio.timeout(10):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: OneShot(self), "127.0.0.1", self._port
                )
        except (OSError, TimeoutError):
            self.offered.broken += 1
            return
        self.connections.add(connection)
        connection.send(request)


async def _offer(
    port: int, pid: int, bodies: list[bytes], per_second: float, seconds: float
) -> tuple[Offered, float]:
    pool = Pool(port)
    start_s = time.perf_counter()
    sent = shown = 0
    highest_mib = 0.0
    while (elapsed_s := time.perf_counter() - start_s) < seconds:
        due = int(elapsed_s * per_second)
        while sent < due:
            pool.send(bodies[sent % len(bodies)])
            sent += 1
        if elapsed_s >= (shown + 1) * PROGRESS_S:
            shown += 1
            memory = memory_mib(pid)
            highest_mib = max(highest_mib, memory)
            good = pool.offered.statuses.get(200, 0)
            print(
                f"  {elapsed_s:4.0f} s offered {sent:,} ({sent / elapsed_s:,.0f}/s)  200: {good:,} "
                f"({good / elapsed_s:,.0f}/s)  429: {pool.offered.statuses.get(429, 0):,}  "
                f"connections {len(pool.connections)}  {memory:.0f} MiB",
                flush=True,
            )
        await asyncio.sleep(TICK_S)
    offered = pool.offered
    result = replace(
        offered,
        statuses=dict(offered.statuses),
        latencies_s=list(offered.latencies_s),
        waiting=sum(connection.is_waiting for connection in pool.connections),
    )
    for connection in list(pool.connections):
        connection.abort()
    await asyncio.sleep(0)
    return result, max(highest_mib, memory_mib(pid))


def allow_connections() -> None:
    """Let this process and the server, which inherits it, open as many sockets as are needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + SPARE_FILES
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _capacity(port: int, bodies: list[bytes], plan: Plan) -> float:
    """Requests answered in a second when as many clients ask as suits the server best."""
    highest = 0.0
    for connections in (16, 48):
        load = Load(connections, plan.warm_up_s, min(CAPACITY_S, plan.seconds))
        tally = measure(port, bodies, load)
        print(f"capacity with {connections} connections: {tally.per_second:,.0f}/s", flush=True)
        highest = max(highest, tally.per_second)
    return highest


def run(subject: Subject, directory: Path, plan: Plan, *, times: float, n_rows: int) -> int:
    """Find the capacity of ours, offer a multiple of it, print what came of it; 0 if it holds.

    The capacity is measured before and after, and its mean counts: a machine's speed changes within minutes.
    """
    allow_connections()
    ours = ALL[0]
    bodies = requests(ours, subject, n_rows)
    with serving(ours, ours.python(), subject, directory) as (port, pid):
        before = _capacity(port, bodies, plan)
        before_mib = memory_mib(pid)
        print(f"offering {times * before:,.0f}/s for {plan.seconds:g} s", flush=True)
        offered, highest_mib = uvloop.run(_offer(port, pid, bodies, times * before, plan.seconds))
        after = _capacity(port, bodies, plan)
    capacity = (before + after) / 2
    goodput = offered.statuses.get(200, 0) / plan.seconds
    ordered = sorted(offered.latencies_s)
    p99_ms = 1000 * ordered[int(0.99 * (len(ordered) - 1))] if ordered else float("nan")
    counts = ", ".join(f"{status}: {n:,}" for status, n in sorted(offered.statuses.items()))
    share = goodput / capacity
    print(
        f"answers by status {counts}; cut off {offered.broken:,}; waiting at the end {offered.waiting:,}; "
        f"not sent for want of one of {MAX_CONNECTIONS:,} connections {offered.no_connection:,}\n"
        f"goodput {goodput:,.0f}/s of a capacity of {capacity:,.0f}/s: {share:.0%} (wanted {WANTED_SHARE:.0%}); p99 of "
        f"those answered {p99_ms:.1f} ms; memory {before_mib:.0f} MiB before, at most {highest_mib:.0f} MiB under it"
    )
    return 0 if share >= WANTED_SHARE else 1
