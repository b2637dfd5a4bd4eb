"""Run a workload, with or without a crash, and compare it with the run without."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.faults.support import oracle
from tests.faults.support.oracle import Counts, State
from tests.faults.support.plans import CrashPoint
from tests.faults.support.world import Site, World, open_world
from tests.faults.workloads import Workload

CONVERGE_S = 60.0


@dataclass(frozen=True)
class Run:
    """What a run ended in.

    Attributes
    ----------
    writes
        Numbered writes from the user's act to quiescence.
    crashed
        Whether its crash point was reached.
    recovery_s
        From the crash to the end state, with nothing written any more.
    findings
        What is wrong, one sentence each: differences, tracebacks, exits that nobody caused.
    """

    workload: str
    point: CrashPoint | None
    state: State
    counts: Counts
    writes: int
    crashed: bool = False
    recovery_s: float = 0.0
    findings: tuple[str, ...] = ()


def run(site: Site, workload: Workload, point: CrashPoint | None = None, want: Run | None = None) -> Run:
    """Run a workload to its end; with `want`, until its end state is that run's, or the time is up."""
    with open_world(site, workload.name) as world:
        workload.prepare(world)
        world.wait(world.is_quiet, "quiet before the user acts")
        traffic = (
            world.traffic(workload.traffic_per_s) if workload.traffic_per_s else contextlib.nullcontext()
        )
        with traffic:
            world.proxy.begin(point, world.operator.kill)
            if point is not None and point.number == 0:
                world.operator.kill()
            started = time.monotonic()
            workload.act(world)
            world.wait(lambda: workload.is_done(world), f"{workload.name} done")
            world.wait(world.is_quiet, "quiet at the end")
            state = _wait_for_state(world, want.state) if want else world.state()
            ended = time.monotonic()
            world.wait(world.is_quiet, "quiet in the end state")
        done = Run(
            workload=workload.name,
            point=point,
            state=state,
            counts=oracle.count(world.proxy.records()),
            writes=world.proxy.count_writes(),
        )
        return _judge(done, want, world, started, ended)


def _wait_for_state(world: World, want: State) -> State:
    deadline = time.monotonic() + CONVERGE_S
    state = world.state()
    while state != want and time.monotonic() < deadline:
        time.sleep(0.5)
        state = world.state()
    return state


def _judge(done: Run, want: Run | None, world: World, started: float, ended: float) -> Run:
    crashed_at = world.proxy.crashed_at_s()
    if done.point is not None and done.point.number == 0:
        crashed_at = started
    findings = [f"exit with status {code} that nobody caused" for code in world.operator.unexpected_exits]
    findings += [f"traceback: {line}" for line in world.operator.tracebacks()]
    if want is not None:
        findings += oracle.compare(want.state, done.state)
        if done.counts != want.counts:
            findings.append(f"{done.counts} instead of {want.counts}")
    recovery_s = ended - crashed_at if crashed_at else 0.0
    return replace(done, crashed=crashed_at is not None, recovery_s=recovery_s, findings=tuple(findings))


def describe(name: str, clean: Run, crashes: list[Run], rerun: Callable[[CrashPoint], str]) -> list[str]:
    """Return the report: one line of counts, and for each finding how to see it again."""
    reached = [crash for crash in crashes if crash.crashed]
    bad = [crash for crash in crashes if crash.findings]
    slowest_s = max((crash.recovery_s for crash in reached), default=0.0)
    summary = (
        f"crash {name}: {len(reached)} of {len(crashes)} points reached, {len(bad)} diverged; "
        f"fault-free run: {clean.writes} writes, {clean.counts}; slowest recovery {slowest_s:.1f} s"
    )
    lines = [summary]
    for crash in bad:
        assert crash.point is not None
        lines += [f"  {crash.point}: {finding}" for finding in crash.findings]
        lines.append(f"  again: {rerun(crash.point)}")
    return lines
