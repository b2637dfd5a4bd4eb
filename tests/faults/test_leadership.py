"""Two operators and one lease: the leader dies, or stops in the middle of a write, and the other takes over."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from perennial.cluster.kinds import KINDS

from tests.faults.support.audit import AuditedWrite, read_audit
from tests.faults.support.calls import WriteClass
from tests.faults.support.operator import HostOperator
from tests.faults.support.proxy import FaultProxy
from tests.faults.support.world import (
    SECOND,
    SYSTEM,
    Site,
    World,
    drop_lease,
    make_namespace,
    open_operator,
    open_proxy,
)
from tests.faults.workloads import canary, serve

HANDED_OVER_WITHIN_S = 20
PATIENCE_S = 30
# The gate looks each second while there is traffic, and each look is a write: the leader never rests.
BUSY = canary(50, pause="30m")
TIMES = {"SCALE_DOWN_DELAY_S": "1", "VERIFY_INTERVAL_S": "0.2"}


@dataclass(frozen=True)
class Replica:
    """One of the two operators and its way to the API server."""

    proxy: FaultProxy
    operator: HostOperator

    @property
    def name(self) -> str:
        return self.proxy.name

    def writes_since(self, since_s: float) -> int:
        """Return how many numbered writes the API server has accepted since."""
        return sum(
            r.is_accepted_write and r.call.write_class is WriteClass.NUMBERED and r.at_s > since_s
            for r in self.proxy.records()
        )


@dataclass(frozen=True)
class Pair:
    """Two replicas in one world; `world` talks through the first."""

    world: World
    lease: str
    replicas: tuple[Replica, Replica]

    def holder(self) -> str:
        """Return the lease's holder; it has another identity after each start."""
        lease = self.world.site.api.request("GET", KINDS["Lease"].path(SYSTEM, self.lease))
        return str(lease["spec"].get("holderIdentity") or "")

    def leader(self) -> tuple[Replica, Replica]:
        """Return who leads, and the other."""
        one, two = self.replicas
        return (one, two) if self.holder().startswith(f"{one.name}_") else (two, one)

    def wait_hand_over(self, was: str, since_s: float) -> float:
        """Wait until somebody else holds the lease; return how long that took, in seconds."""
        self.world.wait(lambda: self.holder() not in ("", was), "another leader", HANDED_OVER_WITHIN_S)
        return time.monotonic() - since_s


@contextmanager
def open_pair(site: Site) -> Iterator[Pair]:
    namespace = f"f-lead-{os.urandom(3).hex()}"
    lease = f"faults-{namespace}"
    with ExitStack() as stack:
        stack.enter_context(make_namespace(site, namespace))
        stack.callback(drop_lease, site, lease)
        replicas = []
        for part in ("one", "two"):
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="faults-")))
            proxy = stack.enter_context(open_proxy(site, f"{namespace}-{part}", directory, namespace))
            operator = stack.enter_context(open_operator(site, proxy, directory, lease, TIMES))
            replicas.append(Replica(proxy, operator))
        one, two = replicas
        yield Pair(World(site, namespace, one.proxy, one.operator), lease, (one, two))


def start_busy_rollout(world: World) -> None:
    serve(world, rollout=BUSY)
    world.apply(SECOND, rollout=BUSY)
    world.wait(lambda: world.rollout().get("canaryWeightPercent") == 50, "a canary under way")


def find_stale(
    writes: list[AuditedWrite], stopped: str, successor: str, since: datetime
) -> list[AuditedWrite]:
    """Return the writes of the stopped one that were accepted after the other had acquired the lease."""
    taken_over = [
        w.at
        for w in writes
        if w.writer == successor and w.write_class is WriteClass.LEASE and w.is_accepted and w.at > since
    ]
    assert taken_over, "nobody took over"
    return [
        w
        for w in writes
        if w.writer == stopped
        and w.at > taken_over[0]
        and w.is_accepted
        and w.write_class is not WriteClass.EVENT
    ]


def looked_at_lease(replica: Replica, since_s: float) -> bool:
    return any(
        r.at_s > since_s and r.call.plural == "leases" and r.call.method == "GET"
        for r in replica.proxy.records()
    )


def kill_leader(site: Site) -> float:
    """Return how long the hand-over took, in seconds."""
    with open_pair(site) as pair, pair.world.traffic(20):
        start_busy_rollout(pair.world)
        leader, other = pair.leader()
        was, killed_at_s = pair.holder(), time.monotonic()
        leader.operator.kill()
        handed_over_s = pair.wait_hand_over(was, killed_at_s)
        led_at_s = time.monotonic()
        pair.world.wait(
            lambda: leader.writes_since(led_at_s) + other.writes_since(led_at_s), "the new leader at work"
        )
        return handed_over_s


@dataclass(frozen=True)
class Stop:
    """How it went to stop a leader with a write under way, and to let it go on later.

    Attributes
    ----------
    late_status
        The API server's answer to that write, sent on after the other had worked on the same object.
    writes
        All of both, from the audit log.
    """

    leader: str
    other: str
    stopped_at: datetime
    handed_over_s: float
    late_status: int | None
    writes: list[AuditedWrite]


def stop_leader(site: Site) -> Stop:
    with open_pair(site) as pair, pair.world.traffic(20):
        start_busy_rollout(pair.world)
        leader, other = pair.leader()
        held = leader.proxy.hold_next_write(
            lambda call: call.plural == "modeldeployments" and call.subresource == "status"
        )
        assert held.reached.wait(PATIENCE_S), "a busy leader writes its status"
        was, stopped_at, stopped_at_s = pair.holder(), datetime.now(UTC), time.monotonic()
        leader.operator.suspend()
        handed_over_s = pair.wait_hand_over(was, stopped_at_s)
        pair.world.wait(lambda: other.writes_since(stopped_at_s) >= 2, "the new leader at work")
        leader.proxy.release(held)
        assert held.answered.wait(PATIENCE_S)
        resumed_at_s = time.monotonic()
        leader.operator.resume()
        pair.world.wait(lambda: looked_at_lease(leader, resumed_at_s), "the stopped one awake")
        awake_at_s = time.monotonic()
        pair.world.wait(lambda: other.writes_since(awake_at_s) >= 3, "the new leader going on")
        writes = read_audit(Path(os.environ["PERENNIAL_AUDIT_LOG"]), (leader.name, other.name), pair.lease)
        return Stop(leader.name, other.name, stopped_at, handed_over_s, held.status, writes)


@pytest.fixture(scope="module")
def plays(site: Site) -> Iterator[tuple[Future[float], Future[Stop]]]:
    """Both side by side: most of the time somebody waits for a lease to expire."""
    with ThreadPoolExecutor(2) as pool:
        yield pool.submit(kill_leader, site), pool.submit(stop_leader, site)


def test_killed_leader_is_replaced(
    plays: tuple[Future[float], Future[Stop]], report: Callable[[str], None]
) -> None:
    handed_over_s = plays[0].result()
    report(f"leader killed: handed over after {handed_over_s:.1f} s")
    assert handed_over_s <= HANDED_OVER_WITHIN_S


def test_stopped_leader_writes_nothing_any_more(
    plays: tuple[Future[float], Future[Stop]], report: Callable[[str], None]
) -> None:
    stop = plays[1].result()
    stale = find_stale(stop.writes, stop.leader, stop.other, stop.stopped_at)
    first, second = (
        sum(w.is_accepted for w in stop.writes if w.writer == name and w.write_class is WriteClass.NUMBERED)
        for name in (stop.leader, stop.other)
    )
    report(
        f"leader stopped: handed over after {stop.handed_over_s:.1f} s; its late write was answered "
        f"{stop.late_status}; audit log: {first} writes of the first, {second} of the second, {len(stale)} stale"
    )
    assert stop.late_status == 409, "a write of the old leader came late and was accepted"
    assert stale == []
