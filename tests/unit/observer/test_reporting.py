from datetime import UTC, datetime

from perennial_api.arms import Arm
from perennial_api.monitorreport import LogCounts, MonitorReportStatus, MonitorState, MonitorVerdict
from perennial_observer.errors import Unavailable
from perennial_observer.monitors.looks.reports import DeploymentReport
from perennial_observer.reporting import Reporter
from perennial_observer.store.rows import Counts, DeploymentKey

KEY = DeploymentKey("uid", "shop", "wine")


class Writer:
    def __init__(self) -> None:
        self.written = []
        self.broken = False

    async def write(self, key, status) -> None:
        if self.broken:
            raise Unavailable("down")
        self.written.append(status)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def report(predictions: int, state: MonitorState = MonitorState.OK) -> dict[str, DeploymentReport]:
    verdict = MonitorVerdict(name="drift", type="Drift", state=state)
    status = MonitorReportStatus(log=LogCounts(predictions=predictions), monitors=(verdict,))
    return {KEY.uid: DeploymentReport(KEY, Counts(), status, {})}


async def test_figures_wait_transitions_do_not_and_nothing_is_written_twice():
    writer, clock = Writer(), Clock()
    reporter = Reporter(writer, 15.0, 2.0, clock)
    await reporter.publish(report(1))
    await reporter.publish(report(1))
    await reporter.publish(report(2))
    assert len(writer.written) == 1
    await reporter.publish(report(2, MonitorState.ALARM))
    assert len(writer.written) == 2
    clock.now = 15.0
    await reporter.publish(report(3, MonitorState.ALARM))
    assert len(writer.written) == 3


async def test_a_report_that_could_not_be_written_is_tried_again():
    writer = Writer()
    reporter = Reporter(writer, 15.0, 2.0, Clock())
    writer.broken = True
    await reporter.publish(report(1))
    writer.broken = False
    await reporter.publish(report(1))
    assert len(writer.written) == 1


def arms(predictions: int, *, since: int = 0, until: int = 0) -> dict[str, tuple[Arm, ...]]:
    def at(seconds: int) -> datetime:
        return datetime.fromtimestamp(seconds, UTC)

    arm = Arm(revision="wine-1", since=at(since), counted_until=at(until), predictions=predictions)
    return {KEY.uid: (arm,)}


async def test_counts_of_a_comparison_are_written_every_few_seconds_and_a_new_one_at_once():
    writer, clock = Writer(), Clock()
    reporter = Reporter(writer, 15.0, 2.0, clock)
    await reporter.publish(report(1))
    await reporter.publish(report(1), arms(1))
    await reporter.publish(report(1), arms(2))
    assert [len(status.arms) for status in writer.written] == [0, 1]
    clock.now = 2.0
    await reporter.publish(report(1), arms(3))
    assert writer.written[-1].arms[0].predictions == 3
    await reporter.publish(report(1), arms(0, since=9))
    assert writer.written[-1].arms[0].predictions == 0
    await reporter.publish(report(1))
    assert writer.written[-1].arms == ()


async def test_counts_that_stand_still_are_written_as_rarely_as_statistics():
    writer, clock = Writer(), Clock()
    reporter = Reporter(writer, 15.0, 2.0, clock)
    await reporter.publish(report(1), arms(1))
    clock.now = 14.0
    await reporter.publish(report(1), arms(1, until=14))
    assert len(writer.written) == 1
    clock.now = 15.0
    await reporter.publish(report(1), arms(1, until=15))
    assert len(writer.written) == 2
