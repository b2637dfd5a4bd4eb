"""The verdict on one window's data quality. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from perennial_api.modeldeployment.monitoring import DataQuality, MonitorSettings

from perennial_observer.monitors.alarms.false_alarms import chance_of_breach, largest_count
from perennial_observer.monitors.alarms.verdicts import MAX_FEATURES, Assessment, assess_too_few
from perennial_observer.monitors.quality.chance import fewest_rows
from perennial_observer.monitors.quality.features import Count, Kind, count_features
from perennial_observer.monitors.quality.volume import Volume
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import LoggedRow

__all__ = ["assess_misfits", "assess_quality"]

NAMED = 5
# A share that would be shown as 0.0 %.
WORTH_SAYING = 0.0005
_WORDS = {
    Kind.MISSING: "values are missing",
    Kind.UNSEEN: "values are categories never seen",
    Kind.RANGE: "values are out of range",
    Kind.TYPE: "values are of another type",
}


@dataclass(frozen=True)
class _Finding:
    """Something that was looked for.

    Parameters
    ----------
    statistic
        How many times the largest amount that is allowed, chance included: above 1 is a breach. Where nothing is
        allowed, half a value stands for it.
    """

    kind: Kind
    feature: str
    statistic: float
    text: str


def assess_quality(
    rows: Sequence[LoggedRow],
    reference: StoredReference,
    spec: DataQuality,
    settings: MonitorSettings,
    *,
    exclude: Collection[str] = (),
    rejected: Mapping[str, int] | None = None,
    volume: Volume | None = None,
) -> Assessment:
    """Judge one window: a breach if anything is found more often than chance explains at its allowed share.

    The probability that ``falseAlarmEvery`` leaves to one window is divided among all that is looked for.

    Parameters
    ----------
    rejected
        Rows that came meanwhile and didn't fit the schema, by reason; None where they can't be told to belong, as in a
        slice.
    volume
        How many rows came in what time, where ``minPerHour`` asks for it.
    """
    enough = settings.window.min_samples
    counts = count_features(rows, reference, exclude, spec) if len(rows) >= enough else []
    if rejected is not None and len(rows) + sum(rejected.values()) >= enough:
        bad = sum(rejected.values())
        counts.append(Count("", Kind.REJECTED, bad, len(rows) + bad, spec.max_invalid))
    looked_for = len(counts) + (volume is not None)
    p = _probability(rows, settings) / max(looked_for, 1)
    findings = [_judge(count, p, rejected or {}) for count in counts]
    if volume is not None and spec.min_per_hour is not None:
        findings.append(_judge_volume(volume, spec.min_per_hour, p))
    findings.sort(key=lambda finding: -finding.statistic)
    breaches = [finding for finding in findings if finding.statistic > 1.0]
    if len(rows) < enough and not breaches:
        return assess_too_few(len(rows), enough)
    return Assessment(
        breached=bool(breaches),
        reason=breaches[0].kind.value if breaches else "WithinLimits",
        message=_describe(findings, breaches, len(rows)),
        samples=len(rows),
        statistic=findings[0].statistic,
        threshold=1.0,
        features=_rank(findings),
    )


def assess_misfits(
    rejected: Mapping[str, int], others: int, spec: DataQuality, settings: MonitorSettings
) -> Assessment:
    """Judge rows that didn't fit by themselves.

    Parameters
    ----------
    others
        Rows that came meanwhile and did fit.
    """
    bad = sum(rejected.values())
    count = Count("", Kind.REJECTED, bad, bad + others, spec.max_invalid)
    finding = _judge(count, _probability((), settings), rejected)
    breached = finding.statistic > 1.0
    return Assessment(
        breached=breached,
        reason=finding.kind.value if breached else "WithinLimits",
        message=finding.text,
        samples=bad + others,
        statistic=finding.statistic,
        threshold=1.0,
    )


def _probability(rows: Sequence[LoggedRow], settings: MonitorSettings) -> float:
    span_s = rows[-1].event_time - rows[0].event_time if rows else settings.window.max_age.seconds
    return chance_of_breach(settings, span_s)


def _judge(count: Count, p: float, rejected: Mapping[str, int]) -> _Finding:
    limit = largest_count(count.of, count.allowed + count.expected, p)
    share = count.count / count.of if count.of else 0.0
    allowed = f"{share:.1%}, {count.allowed:.1%} allowed"
    if count.expected >= WORTH_SAYING:
        allowed += f" beyond the {count.expected:.1%} to expect"
    if count.kind is Kind.REJECTED:
        most = max(rejected, key=lambda reason: rejected[reason], default="")
        why = f", most often {most}" if most else ""
        text = f"{count.count} of {count.of} rows don't fit the schema{why} ({allowed})"
    else:
        text = f"{count.feature}: {count.count} of {count.of} {_WORDS[count.kind]} ({allowed})"
    return _Finding(count.kind, count.feature, count.count / max(limit, 0.5), text)


def _judge_volume(volume: Volume, min_per_hour: int, p: float) -> _Finding:
    limit = fewest_rows(min_per_hour * volume.hours, p)
    text = f"{volume.rows} rows in {volume.hours:.3g} h, minPerHour is {min_per_hour}"
    return _Finding(Kind.VOLUME, "", limit / max(volume.rows, 0.5), text)


def _describe(findings: Sequence[_Finding], breaches: Sequence[_Finding], n: int) -> str:
    if not breaches:
        near = f"; nearest to its limit: {findings[0].text}" if findings[0].statistic > 0.0 else ""
        return f"nothing is wrong with {n} rows beyond what is allowed{near}"
    more = len(breaches) - NAMED
    return "; ".join(
        [finding.text for finding in breaches[:NAMED]] + ([f"and {more} more"] if more > 0 else [])
    )


def _rank(findings: Sequence[_Finding]) -> tuple[tuple[str, float], ...]:
    """Each feature with its worst finding, the worst first; those with none at all are left out."""
    worst: dict[str, float] = {}
    for finding in findings:
        if finding.feature and finding.statistic > 0.0:
            worst.setdefault(finding.feature, finding.statistic)
    return tuple(worst.items())[:MAX_FEATURES]
