"""`spec.monitoring`: what is watched, and when it is an alarm."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.modeldeployment.monitoring.monitor import Monitor
from perennial_api.modeldeployment.monitoring.reference import Reference
from perennial_api.modeldeployment.monitoring.windows import MonitorDefaults, MonitorSettings
from perennial_api.types import AtLeast, Column, Int, KeyedBy, Name, Quantity
from perennial_api.where import MAX_CHARACTERS, parse_where

__all__ = ["Monitoring", "Retention", "Slice"]


def _check_where(text: str) -> str:
    parse_where(text)
    return text


class Slice(Model):
    """Some of the rows, by a condition on their inputs."""

    name: Name
    """Name of the slice; monitors use it."""
    where: Annotated[
        str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS), AfterValidator(_check_where)
    ]
    """Condition such as `tenure < 30 and country in ["FR", "DE"]`: comparisons of columns with constants, in, and, or,
    not, missing(column)."""


class Retention(Model):
    """How much of the prediction log is kept; what goes first is what is oldest."""

    max_age: Annotated[Duration, AtLeast("1h")] = Duration("90d")
    """How long rows and labels are kept after their arrival."""
    max_size: Quantity | None = None
    """How much room they may take in the database, such as 20Gi. Left out, age alone decides."""


def _slices_exist(monitoring: "Monitoring") -> bool:
    known = {found.name for found in monitoring.slices}
    named = {monitor.slice for monitor in monitoring.monitors if monitor.slice is not None}
    for monitor in monitoring.monitors:
        if monitor.fairness is not None:
            named |= set(monitor.fairness.slices)
    return named <= known


class Monitoring(Model):
    """What is watched."""

    rules = (
        Rule(
            cel=(
                "self.monitors.all(m, !has(m.slice) || self.slices.exists(s, s.name == m.slice))"
                " && self.monitors.all(m, !has(m.fairness)"
                " || m.fairness.slices.all(n, self.slices.exists(s, s.name == n)))"
            ),
            message="monitors may name only slices in monitoring.slices: add the slice or correct the name",
            holds=_slices_exist,
        ),
    )

    event_time: Column | None = None
    """Input column that holds the time of the event itself; windows, label maturity, gaps and age weights use it.
    Left out, the time of arrival is used."""
    reference: Reference = Reference()
    """What windows are compared with."""
    retention: Retention = Retention()
    """How much of the prediction log is kept."""
    max_rows_per_second: Annotated[Int, Field(ge=1)] | None = None
    """Most rows that are recorded in a second; of more, a share is, chosen by a hash of the prediction's id. Left out,
    all are."""
    slices: Annotated[tuple[Slice, ...], Field(max_length=20), KeyedBy("name")] = ()
    """Parts of the rows that monitors may look at alone, at most 20."""
    defaults: MonitorDefaults = MonitorDefaults()
    """What holds for every monitor that doesn't say otherwise."""
    monitors: Annotated[tuple[Monitor, ...], Field(max_length=20), KeyedBy("name")] = ()
    """The monitors, at most 20."""

    def settings_for(self, monitor: Monitor) -> MonitorSettings:
        """Fill in the defaults for one monitor; the observer calls it."""
        return MonitorSettings(
            window=monitor.window or self.defaults.window,
            false_alarm_every=monitor.false_alarm_every or self.defaults.false_alarm_every,
            alarm=monitor.alarm or self.defaults.alarm,
            clear=monitor.clear or self.defaults.clear,
        )
