"""The operator dies before or after a write, and everything ends as if it hadn't.

Sampled: one point per workload, the same each time. With PERENNIAL_CAMPAIGN=1: every write, before and after, and the
moment at which the user acts. PERENNIAL_CRASH_POINT=scale:3:after plays one point only.
"""

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.faults.support.plans import CrashPoint, Side
from tests.faults.support.runs import Run, describe, run
from tests.faults.support.world import Site
from tests.faults.workloads import WORKLOADS, Workload

LANES = 6
# The last writes of a run with traffic come in one run and not in the next: a sample keeps away from them.
SAMPLED_SHARE = 0.75

Outcome = tuple[Run, list[Run]]


def choose_points(workload: Workload, writes: int, *, is_campaign: bool) -> list[CrashPoint]:
    chosen = os.environ.get("PERENNIAL_CRASH_POINT")
    if chosen:
        name, number, side = chosen.split(":")
        if name == workload.name:
            return [CrashPoint(int(number), Side(side))]
    if is_campaign:
        points = [CrashPoint(number, side) for number in range(1, writes + 1) for side in Side]
        return [CrashPoint(0, Side.BEFORE), *points]
    if writes == 0:
        return [CrashPoint(0, Side.BEFORE)]
    chance = random.Random(workload.name)
    number = chance.randint(1, max(1, int(writes * SAMPLED_SHARE)))
    return [CrashPoint(number, chance.choice(list(Side)))]


def play(site: Site, workload: Workload, is_campaign: bool) -> Outcome:
    clean = run(site, workload)
    points = choose_points(workload, clean.writes, is_campaign=is_campaign)
    with ThreadPoolExecutor(LANES if is_campaign else 1) as pool:
        return clean, list(pool.map(lambda point: run(site, workload, point, clean), points))


@pytest.fixture(scope="module")
def outcomes(
    site: Site, is_campaign: bool, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[Outcome]]]:
    """All workloads under way side by side; each test waits for its own."""
    pool = ThreadPoolExecutor(1 if is_campaign else LANES)
    asked = {item.callspec.params["name"] for item in request.session.items if _is_ours(item)}
    yield {name: pool.submit(play, site, WORKLOADS[name], is_campaign) for name in WORKLOADS if name in asked}
    pool.shutdown(wait=True, cancel_futures=True)


def _is_ours(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and item.function is test_crash_changes_nothing_in_the_end


@pytest.mark.parametrize("name", WORKLOADS)
def test_crash_changes_nothing_in_the_end(
    outcomes: dict[str, Future[Outcome]], name: str, is_campaign: bool, report: Callable[[str], None]
) -> None:
    clean, crashes = outcomes[name].result()
    lines = describe(
        name, clean, crashes, lambda p: f"PERENNIAL_CRASH_POINT={name}:{p} pytest {__name__} -k {name}"
    )
    for line in lines:
        report(line)
    assert clean.findings == ()
    assert crashes
    assert is_campaign or all(crash.crashed for crash in crashes), "the sampled point was not reached"
    assert [crash for crash in crashes if crash.findings] == [], "\n".join(lines)
