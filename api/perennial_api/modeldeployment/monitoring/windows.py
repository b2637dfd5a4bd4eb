"""What one judgement looks at, and how many of them make an alarm."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.types import AtLeast, Int

__all__ = ["Alarm", "Clear", "MonitorDefaults", "MonitorSettings", "Window"]

# The false alarms of a rule are computed over all 2^(of - 1) patterns of breaches, for each size of window.
MOST_WINDOWS = 8


class Window(Model):
    """The stretch of predictions that is judged at once."""

    rules = (
        Rule(
            cel="self.minSamples <= self.size",
            message="window.minSamples is larger than window.size, so no window could ever be judged: lower it",
            holds=lambda self: self.min_samples <= self.size,
        ),
    )

    size: Annotated[Int, Field(ge=50, le=100_000)] = 1000
    """How many rows fill a window, 50 to 100000."""
    max_age: Annotated[Duration, AtLeast("1m")] = Duration("6h")
    """After how long a window closes even if it isn't full, in event time, at least 1m."""
    min_samples: Annotated[Int, Field(ge=10, le=100_000)] = 200
    """With how many rows a window that closed by age is judged; below it the state is Insufficient, never Ok."""


class Alarm(Model):
    """How many windows over the threshold raise an alarm."""

    rules = (
        Rule(
            cel="self.breaches <= self.of",
            message="alarm.breaches is larger than alarm.of, so the alarm could never be raised: lower it",
            holds=lambda self: self.breaches <= self.of,
        ),
    )

    breaches: Annotated[Int, Field(ge=1, le=MOST_WINDOWS)] = 2
    """How many of the latest windows must be over the threshold, 1 to 8."""
    of: Annotated[Int, Field(ge=1, le=MOST_WINDOWS)] = 3
    """How many of the latest windows are looked at, 1 to 8."""


class Clear(Model):
    """How many windows end an alarm."""

    consecutive: Annotated[Int, Field(ge=1, le=20)] = 3
    """How many windows in a row must be within the threshold to end an alarm, 1 to 20."""


class MonitorDefaults(Model):
    """What holds for every monitor that doesn't say otherwise."""

    window: Window = Window()
    """Size and age of the windows."""
    false_alarm_every: Annotated[Duration, AtLeast("1h")] = Duration("30d")
    """How often a false alarm is acceptable, at least 1h; the threshold is calibrated for it."""
    alarm: Alarm = Alarm()
    """When an alarm is raised."""
    clear: Clear = Clear()
    """When it ends."""


@dataclass(frozen=True)
class MonitorSettings:
    """What holds for one monitor after the defaults are filled in.

    Parameters
    ----------
    window_every_s
        How far windows are apart, which says how many there are in falseAlarmEvery; None while it isn't known.
    """

    window: Window
    false_alarm_every: Duration
    alarm: Alarm
    clear: Clear
    window_every_s: float | None = None
