"""The API server errs or hangs for a while, and what was made meanwhile is handled soon after."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.faults.support.plans import Answer, Fault, Hang
from tests.faults.support.world import Site, World, open_world
from tests.faults.workloads import STAYS_AT_20, serve

SAMPLED_S = (1, 20)
CAMPAIGN_S = (1, 10, 60, 120)
HANDLED_WITHIN_S = 30
FAULTS: tuple[Fault, ...] = (
    Answer(429),
    Answer(429, retry_after_s=1),
    Answer(500),
    Answer(503),
    Answer(403),
    Hang(),
)
# The times as they are installed: backoffs and the lease are what is tried here.
INSTALLED_TIMES = {"SCALE_DOWN_DELAY_S": "1"}
# Per watched collection, on average over the fault.
MOST_REQUESTS_PER_S = 5.0


@dataclass(frozen=True)
class Recovery:
    """How one fault went: handled so long after its end, and how often the busiest path was tried meanwhile."""

    duration_s: int
    handled_after_s: float
    busiest_per_s: float


def play(site: Site, fault: Fault, durations_s: tuple[int, ...]) -> list[Recovery]:
    label = f"api-{fault}"
    with open_world(site, label, INSTALLED_TIMES) as world:
        serve(world)
        found = [play_once(world, fault, duration_s) for duration_s in durations_s]
        assert world.operator.unexpected_exits == []
        assert world.operator.tracebacks() == []
        return found


def play_once(world: World, fault: Fault, duration_s: int) -> Recovery:
    """Have the fault last so long; in the middle of it a user makes a ModelDeployment."""
    name = f"new-{duration_s}"
    world.wait(world.is_quiet, "quiet before the fault")
    world.proxy.begin()
    world.proxy.inject(fault)
    # The fault's length is what is asked for, so there is nothing to wait for but the time.
    threading.Event().wait(duration_s / 2)
    world.apply(name=name, rollout=STAYS_AT_20)
    threading.Event().wait(duration_s / 2)
    tries = Counter(r.call.path for r in world.proxy.records() if r.status is None and r.call.method == "GET")
    world.proxy.heal()
    healed_at_s = time.monotonic()
    world.wait(
        lambda: world.list("Deployment", name), f"handled after {fault} of {duration_s} s", HANDLED_WITHIN_S
    )
    busiest_per_s = max(tries.values(), default=0) / max(duration_s, 1)
    return Recovery(duration_s, time.monotonic() - healed_at_s, busiest_per_s)


def play_lost_event(site: Site) -> float:
    """Lose the event of an edit; return how long it took to be handled all the same, in seconds."""
    with open_world(site, "unobserved", {**INSTALLED_TIMES, "RESYNC_S": "6"}) as world:
        serve(world)
        world.wait(world.is_quiet, "quiet")
        world.proxy.drop_events("modeldeployments", 1)
        world.apply(rollout=STAYS_AT_20, server={"minReplicas": 2})
        world.wait(lambda: world.proxy.count_dropped("modeldeployments") == 1, "the event dropped")
        started_at_s = time.monotonic()
        world.wait(lambda: world.list("Deployment")[0]["spec"]["replicas"] == 2, "handled by a resync", 30)
        return time.monotonic() - started_at_s


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(len(FAULTS) + 1)
    yield executor
    executor.shutdown(wait=True, cancel_futures=True)


@pytest.fixture(scope="module")
def lost_event(site: Site, pool: ThreadPoolExecutor) -> Future[float]:
    return pool.submit(play_lost_event, site)


@pytest.fixture(scope="module")
def recoveries(
    site: Site, pool: ThreadPoolExecutor, is_campaign: bool, request: pytest.FixtureRequest
) -> dict[str, Future[list[Recovery]]]:
    """All faults that are asked for, side by side; each test waits for its own."""
    durations_s = CAMPAIGN_S if is_campaign else SAMPLED_S
    asked = {str(item.callspec.params["fault"]) for item in request.session.items if _is_ours(item)}
    return {
        str(fault): pool.submit(play, site, fault, durations_s) for fault in FAULTS if str(fault) in asked
    }


def _is_ours(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and item.function is test_new_object_is_handled_after_the_fault


@pytest.mark.usefixtures("lost_event")
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_new_object_is_handled_after_the_fault(
    recoveries: dict[str, Future[list[Recovery]]], fault: Fault, report: Callable[[str], None]
) -> None:
    found = recoveries[str(fault)].result()
    times = ", ".join(f"{r.duration_s} s: {r.handled_after_s:.1f} s" for r in found)
    busiest = max(r.busiest_per_s for r in found if r.duration_s > 1)
    report(
        f"api error {fault}: {len(found)} faults, handled after their end ({times}); "
        f"at most {busiest:.1f} tries a second per watch"
    )
    assert busiest <= MOST_REQUESTS_PER_S


def test_event_that_never_came_is_made_up_for_by_the_resync(
    lost_event: Future[float], report: Callable[[str], None]
) -> None:
    report(f"lost event: handled {lost_event.result():.1f} s later by a resync each 6 s")
