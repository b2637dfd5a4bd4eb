"""What each arm has earned since the last look, from the routers' counters or the observer's report.

Each reward is counted once whatever restarts: routers' counters go by the marks of `gate.accumulate`, the observer's
counts by the time they began.
"""

from dataclasses import dataclass
from datetime import datetime

from perennial_api.arms import Arm
from perennial_api.modeldeployment.experiment import Experiment, Reward
from perennial_api.modeldeployment.experiment_status import (
    ArmStatus,
    ExperimentStatus,
    ReportMark,
    RewardCounts,
)
from perennial_api.modeldeployment.gate_status import RouterMark

from perennial.rollout.experiment.facts import ExperimentFacts
from perennial.rollout.gate import CounterKey, CounterMark, Counts, accumulate

__all__ = ["Earned", "at_risk", "collect", "counts_clients", "reward_of"]

MOST_MARKS = 200


@dataclass(frozen=True, slots=True)
class Earned:
    """Rewards that came in, and what they lacked in all."""

    total: int = 0
    bad: float = 0.0


def reward_of(spec: Experiment) -> Reward:
    """Return what is counted as a reward; an A/B test without a rule reports the answers without error."""
    if spec.bandit is not None:
        return spec.bandit.reward
    return spec.ab_test.winner.reward if spec.ab_test and spec.ab_test.winner else Reward.NO_ERROR


def counts_clients(spec: Experiment) -> bool:
    """Whether clients are counted instead of requests.

    A client that keeps its arm sends many requests that succeed or fail alike. Taken as independent, they would make
    chance look like proof.
    """
    return spec.ab_test is not None and spec.ab_test.route_by is not None


def at_risk(counts: RewardCounts, news: Earned) -> Earned:
    """Return the window in which clients can have failed: the new ones, and the known ones that had not failed.

    Parameters
    ----------
    counts
        Totals with the news in them.
    """
    failed_before = counts.bad - news.bad
    return Earned(round(counts.total - failed_before), news.bad)


def collect(
    spec: Experiment, status: ExperimentStatus, facts: ExperimentFacts
) -> tuple[ExperimentStatus, dict[str, Earned]]:
    """Count what came in; return the status with totals and marks, and the news by arm."""
    match reward_of(spec):
        case Reward.NO_ERROR:
            status, news = _collect_from_routers(status, facts, by_client=counts_clients(spec))
        case Reward.FEEDBACK:
            status, news = _collect_from_report(spec, status, facts)
    arms = tuple(arm.model_copy(update={"counts": _add(arm.counts, news[arm.name])}) for arm in status.arms)
    return status.model_copy(update={"arms": arms}), news


def _add(counts: RewardCounts, news: Earned) -> RewardCounts:
    return RewardCounts(total=counts.total + news.total, bad=counts.bad + news.bad)


def _collect_from_routers(
    status: ExperimentStatus, facts: ExperimentFacts, *, by_client: bool
) -> tuple[ExperimentStatus, dict[str, Earned]]:
    revisions = {arm.revision: arm.name for arm in status.arms if arm.revision}
    reading: dict[CounterKey, Counts] = {
        (router.pod, router.epoch, revision): (
            Counts(counters.users, counters.failing_users)
            if by_client
            else Counts(counters.requests, counters.errors)
        )
        for router in facts.observed.routers
        if router.reachable
        for revision, counters in router.counters.items()
        if revision in revisions
    }
    before = tuple(CounterMark(m.pod, m.epoch, m.revision, m.requests, m.errors) for m in status.routers)
    marks, new = accumulate(before, reading, distinct=by_client)
    news = dict.fromkeys((arm.name for arm in status.arms), Earned())
    news |= {revisions[revision]: Earned(counts.requests, counts.errors) for revision, counts in new.items()}
    kept = tuple(
        RouterMark(pod=m.pod, epoch=m.epoch, revision=m.revision, requests=m.requests, errors=m.errors)
        for m in marks
        if m.revision in revisions
    )
    return status.model_copy(update={"routers": _bounded(kept)}), news


def _bounded(marks: tuple[RouterMark, ...]) -> tuple[RouterMark, ...]:
    """Forget whole pods, longest unseen first: half a pod's marks would make the other half count twice."""
    while len(marks) > MOST_MARKS:
        marks = tuple(mark for mark in marks if mark.pod != marks[0].pod)
    return marks


def _collect_from_report(
    spec: Experiment, status: ExperimentStatus, facts: ExperimentFacts
) -> tuple[ExperimentStatus, dict[str, Earned]]:
    arms, news = [], {}
    for arm in status.arms:
        reported = facts.observed.arms.get(arm.revision or "")
        if reported is None:
            arms.append(arm)
            news[arm.name] = Earned()
            continue
        seen = _read(spec, reported)
        news[arm.name] = _since_mark(arm, reported, seen, status.started_at)
        if arm.mark is None or arm.mark.since <= reported.since:
            mark = ReportMark(since=reported.since, total=seen.total, bad=seen.bad)
            arm = arm.model_copy(update={"mark": mark})  # noqa: PLW2901
        arms.append(arm)
    return status.model_copy(update={"arms": tuple(arms)}), news


def _read(spec: Experiment, reported: Arm) -> Earned:
    if spec.bandit is not None:
        return Earned(reported.rewards.count, max(0.0, reported.rewards.count - reported.rewards.sum))
    labels = reported.client_labels if counts_clients(spec) else reported.labels
    return Earned(labels.total, float(labels.bad))


def _since_mark(arm: ArmStatus, reported: Arm, seen: Earned, started_at: datetime | None) -> Earned:
    """Return what is new. Counts that began before the experiment only set the mark: they are of other traffic."""
    mark = arm.mark
    if mark is not None and mark.since == reported.since:
        total = max(0, seen.total - mark.total)
        return Earned(total, min(float(total), max(0.0, seen.bad - mark.bad)))
    if mark is None and (started_at is None or reported.since < started_at):
        return Earned()
    if mark is not None and mark.since > reported.since:
        return Earned()  # a report that comes late
    return seen
