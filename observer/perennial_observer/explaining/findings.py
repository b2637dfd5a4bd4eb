"""What an explanation holds. Every list has a bound, so that a thousand windows with theirs still fit the database."""

from pydantic import BaseModel, ConfigDict

__all__ = ["Effect", "Explanation", "Histogram", "Movement", "SliceShift"]


class _Finding(BaseModel):
    model_config = ConfigDict(frozen=True)


class Movement(_Finding):
    """How far one column moved.

    Parameters
    ----------
    distance
        The monitor's statistic of this column where it has one; else the largest difference of the distribution
        functions of numbers, or half the sum of the differences of categories' shares. From 0 to 1 in both cases.
    """

    name: str
    distance: float


class Histogram(_Finding):
    """One column before and after, as shares of all rows.

    Parameters
    ----------
    labels
        What each bin holds: its lower and upper end, or the category.
    reference, window
        Share of the rows in each bin, in the order of `labels`; with the missing share they add up
        to 1 where all numbers are finite.
    """

    name: str
    labels: tuple[str, ...]
    reference: tuple[float, ...]
    window: tuple[float, ...]
    reference_missing: float
    window_missing: float


class SliceShift(_Finding):
    """One slice's share of the rows, before and after."""

    name: str
    reference: float
    window: float


class Effect(_Finding):
    """What a monitor that estimates performance says, before the change and now."""

    monitor: str
    metric: str
    before: float
    now: float


class Explanation(_Finding):
    """What is known about one breach.

    Parameters
    ----------
    started
        Event time at which the window starts that the statistic has been elsewhere from; None where the windows show no
        such step.
    """

    columns: tuple[Movement, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    started: float | None = None
    slices: tuple[SliceShift, ...] = ()
    effect: Effect | None = None
