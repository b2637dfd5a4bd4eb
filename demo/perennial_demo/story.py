"""What the demo has seen happen, and what it does next. Pure: looks in, one frozen state out.

::

    Watch ──alarm──▶ Retrain ──accepted──▶ Canary ──promoted──▶ Compare ──days──▶ Bad ──rolled back──▶ Recover ──▶ End
      any of them: a deadline passes, the run is refused, the canary fails, the bad version is promoted ──▶ End (failed)
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from perennial_api import ModelRevision, RetrainingRun
from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus
from perennial_api.modelrevision import RevisionRole
from perennial_api.monitorreport import MonitorState, MonitorVerdict
from perennial_api.retrainingrun import RetrainingPhase

from perennial_demo.cluster import Snapshot

DAY_S = 86_400.0
RECOVER_DAYS = 4.0


class Chapter(StrEnum):
    """Where the demo stands."""

    WATCH = "the first model serves, monitors watch"
    RETRAIN = "performance alarm: a candidate is trained"
    CANARY = "the candidate takes the canary road"
    COMPARE = "the candidate was promoted and serves"
    BAD = "a bad version is rolled out"
    RECOVER = "the bad version was rolled back"
    END = "end"


@dataclass(frozen=True)
class Alarm:
    """A monitor's first alarm, as seen in event time."""

    monitor: str
    message: str
    event_time_s: float


@dataclass(frozen=True)
class Story:
    """Everything noted so far; what was seen once stays."""

    chapter: Chapter
    entered_wall_s: float
    entered_event_s: float
    first_revision: str | None = None
    drift: Alarm | None = None
    performance: Alarm | None = None
    run: RetrainingRun | None = None
    candidate: ModelRevision | None = None
    promoted_event_s: float | None = None
    bad: ModelRevision | None = None
    bad_weight_percent: int = 0
    failure: str | None = None

    @property
    def pace(self) -> float:
        """Share of the fastest pace that suits the chapter: the control plane works by the wall clock."""
        return {Chapter.RETRAIN: 0.1, Chapter.CANARY: 0.4, Chapter.BAD: 0.4}.get(self.chapter, 1.0)


def step(
    story: Story,
    seen: Snapshot,
    *,
    wall_s: float,
    event_s: float,
    bad_digest: str,
    compare_days: float,
    chapter_timeout_s: float,
) -> Story:
    """Take one look into account.

    Parameters
    ----------
    wall_s, event_s
        Monotonic wall time and the replay's event time, seconds.
    bad_digest
        ``sha256:<hex>`` of the bad version.
    compare_days
        Event time that the promoted candidate serves before the bad version comes, days.
    chapter_timeout_s
        Longest wall time in a chapter that waits for the control plane, seconds.
    """
    if story.chapter is Chapter.END:
        return story
    story = _note(story, seen, event_s, bad_digest)
    following, failure = _leave(story, seen, event_s, compare_days)
    if failure is None and following is None and wall_s - story.entered_wall_s > chapter_timeout_s:
        failure = f"after {chapter_timeout_s:.0f} s still: {story.chapter.value}"
    if failure is not None:
        return replace(story, chapter=Chapter.END, failure=failure)
    if following is None:
        return story
    promoted = event_s if following is Chapter.COMPARE else story.promoted_event_s
    return replace(
        story, chapter=following, entered_wall_s=wall_s, entered_event_s=event_s, promoted_event_s=promoted
    )


def _note(story: Story, seen: Snapshot, event_s: float, bad_digest: str) -> Story:
    rollout = rollout_of(seen)
    changes: dict[str, object] = {}
    if story.first_revision is None and rollout is not None:
        changes["first_revision"] = rollout.stable
    for kind, field in (("Drift", "drift"), ("Performance", "performance")):
        alarm = next((v for v in verdicts_of(seen) if v.type == kind and v.state is MonitorState.ALARM), None)
        if getattr(story, field) is None and alarm is not None:
            changes[field] = Alarm(alarm.name, alarm.message, event_s)
    run = _same_run(story.run, seen) if story.run is not None else next(iter(seen.runs), None)
    changes["run"] = run
    if run is not None:
        changes["candidate"] = find_revision(seen, run.status.candidate_revision) or story.candidate
    bad = next((r for r in seen.revisions if r.spec.model.digest == bad_digest), story.bad)
    if bad is not None:
        changes["bad"] = bad
        changes["bad_weight_percent"] = max(story.bad_weight_percent, _weight_of(rollout, bad.metadata.name))
    return replace(story, **changes)  # type: ignore[arg-type]


def _leave(
    story: Story, seen: Snapshot, event_s: float, compare_days: float
) -> tuple[Chapter | None, str | None]:
    """The chapter that follows now, or why the story failed."""
    match story.chapter:
        case Chapter.WATCH:
            return (Chapter.RETRAIN if story.run is not None else None), None
        case Chapter.RETRAIN:
            return _leave_retrain(story)
        case Chapter.CANARY:
            return _leave_canary(story, seen)
        case Chapter.COMPARE:
            return (Chapter.BAD if event_s - story.entered_event_s >= compare_days * DAY_S else None), None
        case Chapter.BAD:
            return _leave_bad(story, seen)
        case _:
            return (Chapter.END if event_s - story.entered_event_s >= RECOVER_DAYS * DAY_S else None), None


def _leave_retrain(story: Story) -> tuple[Chapter | None, str | None]:
    assert story.run is not None
    status = story.run.status
    if status.phase in {RetrainingPhase.REFUSED, RetrainingPhase.FAILED}:
        return None, f"the retraining run ended {status.phase.value}: {status.reason}: {status.message}"
    return (Chapter.CANARY if story.candidate is not None else None), None


def _leave_canary(story: Story, seen: Snapshot) -> tuple[Chapter | None, str | None]:
    assert story.candidate is not None
    status, rollout = story.candidate.status, rollout_of(seen)
    if status.role is RevisionRole.FAILED:
        return None, f"the candidate was rolled back: {status.reason}: {status.message}"
    is_healthy = rollout is not None and rollout.phase is RolloutPhase.HEALTHY
    return (Chapter.COMPARE if is_healthy and status.role is RevisionRole.STABLE else None), None


def _leave_bad(story: Story, seen: Snapshot) -> tuple[Chapter | None, str | None]:
    if story.bad is None:
        return None, None
    if story.bad.status.role is RevisionRole.STABLE:
        return None, "the bad version became the stable one"
    is_off = _weight_of(rollout_of(seen), story.bad.metadata.name) == 0
    return (Chapter.RECOVER if is_off and story.bad.status.role is RevisionRole.FAILED else None), None


def rollout_of(seen: Snapshot) -> RolloutStatus | None:
    """Rollout status of the deployment."""
    return seen.deployment.status.rollout if seen.deployment is not None else None


def verdicts_of(seen: Snapshot) -> tuple[MonitorVerdict, ...]:
    """The monitors' latest verdicts."""
    return seen.report.status.monitors if seen.report is not None else ()


def find_revision(seen: Snapshot, name: str | None) -> ModelRevision | None:
    """Look a revision up by name."""
    return next((r for r in seen.revisions if r.metadata.name == name), None)


def _same_run(run: RetrainingRun, seen: Snapshot) -> RetrainingRun:
    return next((r for r in seen.runs if r.metadata.name == run.metadata.name), run)


def _weight_of(rollout: RolloutStatus | None, revision: str) -> int:
    weights = rollout.weights if rollout is not None else ()
    return next((w.weight_percent for w in weights if w.revision == revision), 0)
