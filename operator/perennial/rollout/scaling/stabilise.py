"""More pods at once, fewer only after a while."""

from datetime import datetime

from perennial_api.modeldeployment.scaling_status import RevisionScale

__all__ = ["stabilise"]


def stabilise(previous: RevisionScale, wanted: int, window_s: float, now: datetime) -> RevisionScale:
    """Return how many pods there should be, given how many there should have been and how many are wanted now.

    They get fewer only when fewer were wanted for the whole window, and then as many as were wanted at its peak, as
    the HorizontalPodAutoscaler does it. All that is remembered stands in the status: a restart forgets nothing.

    Examples
    --------
    >>> from datetime import UTC, timedelta
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> scale = RevisionScale(revision="wine-1", replicas=6)
    >>> for minute, wanted in enumerate((2, 4, 1, 1, 1, 1)):
    ...     scale = stabilise(scale, wanted, 300, noon + timedelta(minutes=minute))
    >>> scale.replicas
    4
    """
    if wanted >= previous.replicas:
        return _change(previous, wanted, None, 0)
    since = previous.wanted_less_since or now
    peak = max(previous.peak_wanted, wanted)
    if (now - since).total_seconds() < window_s:
        return _change(previous, previous.replicas, since, peak)
    if wanted < peak:
        return _change(previous, peak, now, wanted)
    return _change(previous, peak, None, 0)


def _change(scale: RevisionScale, replicas: int, since: datetime | None, peak: int) -> RevisionScale:
    update = {"replicas": replicas, "wanted_less_since": since, "peak_wanted": peak}
    return scale.model_copy(update=update)
