"""What a monitor has found and what it must remember; stored as JSON, reported as a MonitorVerdict."""

from datetime import UTC, datetime
from typing import Annotated

from perennial_api.modeldeployment.monitoring import Monitor, Severity
from perennial_api.monitorreport import FeatureStatistic, MonitorState, MonitorVerdict
from pydantic import BaseModel, ConfigDict, Field

from perennial_observer.monitors.alarms.rule import AlarmState
from perennial_observer.store.reads import Position

__all__ = ["Assessment", "Hindrance", "Memory", "Tally", "assess_too_few", "build_verdict", "utc", "utc_text"]

MAX_FEATURES = 20
MAX_MESSAGE = 1024


class Assessment(BaseModel):
    """One window, judged.

    Parameters
    ----------
    breached
        None if the window could not be judged; it then changes no alarm.
    failed
        Whether the detector refused it.
    lower, upper
        95 % interval of the statistic, where there is one.
    metric
        Which performance metric the statistic is, if it is one.
    calibration
        How the threshold was found, in one CamelCase word.
    blocks
        How many blocks of the reference it was learnt from.
    false_breach_rate
        Probability that a window without drift exceeds it, as far as the blocks tell.
    coverage
        Share of the window's rows that have a label, a fraction, where labels are what is judged.
    rejected_until
        Up to which arrival rows that didn't fit are counted, where they are.
    scores
        How odd each row of the window is, in their order, where single rows are judged. Not stored with the window: they
        go to their rows in the log.
    """

    model_config = ConfigDict(frozen=True)

    breached: bool | None
    reason: str
    message: str
    samples: int
    failed: bool = False
    statistic: float | None = None
    threshold: float | None = None
    lower: float | None = None
    upper: float | None = None
    metric: str | None = None
    calibrated: bool | None = None
    calibration: str | None = None
    blocks: int | None = None
    false_breach_rate: float | None = None
    coverage: float | None = None
    features: tuple[tuple[str, float], ...] = ()
    rejected_until: float | None = None
    scores: Annotated[tuple[float, ...], Field(exclude=True)] = ()


def assess_too_few(rows: int, min_samples: int, *, samples: int | None = None) -> Assessment:
    """Say that a window holds too few rows to be judged; every monitor says it alike.

    Parameters
    ----------
    samples
        What the monitor counts as its samples, where that isn't rows.
    """
    return Assessment(
        breached=None,
        reason="TooFewSamples",
        message=f"{rows} rows in the window, window.minSamples is {min_samples}",
        samples=rows if samples is None else samples,
    )


class Hindrance(BaseModel):
    """What keeps a monitor from judging windows.

    Parameters
    ----------
    since
        Seconds since the epoch.
    """

    model_config = ConfigDict(frozen=True)

    reason: str
    message: str
    since: float


class Tally(BaseModel):
    """How many windows a monitor has judged since it is what it is, by what came of them."""

    model_config = ConfigDict(frozen=True)

    passed: int = 0
    breached: int = 0
    insufficient: int = 0
    failed: int = 0

    def count(self, assessment: Assessment) -> "Tally":
        """Count one more window."""
        if assessment.failed:
            name = "failed"
        elif assessment.breached is None:
            name = "insufficient"
        else:
            name = "breached" if assessment.breached else "passed"
        return self.model_copy(update={name: getattr(self, name) + 1})


class Memory(BaseModel):
    """What one monitor remembers between windows; written in the transaction that records the window.

    Parameters
    ----------
    explanation
        The latest breach's, in a sentence; empty once neither the window nor an alarm is about one.
    silent_since
        When the latest row came, while no row has come for too long; see silence.py.
    rejected_until
        Up to which arrival rows that didn't fit have been counted.
    window_every_s
        How far windows are apart in event time.
    hindrance
        What keeps the monitor from judging windows, once it has lasted; see hindrance.py.
    severity
        The monitor's; None where a verdict depends on it, so that another one begins anew.
    """

    model_config = ConfigDict(frozen=True)

    revision: str
    spec_digest: str
    alarm: AlarmState = AlarmState()
    cursor: Position | None = None
    state: MonitorState = MonitorState.INSUFFICIENT
    reason: str = "WaitingForWindow"
    message: str = "no window has closed yet"
    last_transition: float | None = None
    latest: Assessment | None = None
    window_start: float | None = None
    window_end: float | None = None
    evaluated_at: float | None = None
    explanation: str = ""
    silent_since: float | None = None
    rejected_until: float | None = None
    window_every_s: float | None = None
    hindrance: Hindrance | None = None
    severity: Severity | None = None
    tally: Tally = Tally()


def utc(seconds: float | None) -> datetime | None:
    """Seconds since the epoch as the API writes times: whole seconds, UTC."""
    return None if seconds is None else datetime.fromtimestamp(int(seconds), tz=UTC)


def utc_text(seconds: float) -> str:
    """Seconds since the epoch as text in the API's form, such as ``2026-01-31T12:00:00Z``."""
    return datetime.fromtimestamp(int(seconds), tz=UTC).isoformat().replace("+00:00", "Z")


def build_verdict(monitor: Monitor, memory: Memory) -> MonitorVerdict:
    """Render what is reported; :class:`Memory` keeps more than the report shows."""
    latest = memory.latest
    return MonitorVerdict(
        name=monitor.name,
        type=monitor.type,
        severity=monitor.severity,
        state=memory.state,
        reason=memory.reason,
        message=memory.message[:MAX_MESSAGE],
        explanation=memory.explanation,
        breach_id=memory.alarm.breach_id if memory.state is MonitorState.ALARM else None,
        calibrated=latest.calibrated if latest else None,
        statistic=latest.statistic if latest else None,
        threshold=latest.threshold if latest else None,
        window_samples=latest.samples if latest else None,
        window_start=utc(memory.window_start),
        window_end=utc(memory.window_end),
        features=tuple(
            FeatureStatistic(name=name, statistic=statistic)
            for name, statistic in (latest.features if latest else ())
        )[:MAX_FEATURES],
        last_transition_time=utc(memory.last_transition),
    )
