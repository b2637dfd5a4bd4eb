"""Reads what an explanation is made of, right after a window breached. Nothing that fails here harms the verdict."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perennial_api.modeldeployment.monitoring import Monitor, Monitoring, MonitorType
from perennial_api.where import parse_where
from sqlalchemy import Connection

from perennial_observer.explaining.explain import Estimate, Evidence, PastWindow, explain
from perennial_observer.explaining.findings import Explanation
from perennial_observer.monitors.alarms.verdicts import Assessment
from perennial_observer.monitors.looks.assessors import Assessors, MissingReference, Scope
from perennial_observer.monitors.windows.history import JudgedWindow, read_latest_windows
from perennial_observer.monitors.windows.slices import choose_rows
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import LoggedRow
from perennial_observer.store.store import Store

__all__ = ["Breach", "Explainer"]

_LOG = logging.getLogger(__name__)

MAX_HISTORY = 50
# Of more rows every second, third, … one is taken: shares and distances of so many are exact enough to be told.
MAX_ROWS = 2_000

Columns = Mapping[str, Sequence[Any]]
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Breach:
    """One window that breached, before it is stored.

    Parameters
    ----------
    start
        Event time of the window's first row.
    rows
        The rows that were judged.
    """

    scope: Scope
    deployment_id: int
    monitoring: Monitoring
    monitor: Monitor
    start: float
    rows: Sequence[LoggedRow]
    assessment: Assessment


@dataclass(frozen=True)
class Explainer:
    """Explains breaches."""

    store: Store
    assessors: Assessors

    def explain(self, breach: Breach) -> Explanation | None:
        """Explain one breach; None, with the reason in the log, if that fails."""
        try:
            return explain(breach.assessment, self._gather(breach))
        except Exception:  # noqa: BLE001  an alarm without its explanation is better than none
            key = breach.scope.key
            _LOG.exception(
                "breach not explained deployment=%s/%s monitor=%s",
                key.namespace,
                key.name,
                breach.monitor.name,
            )
            return None

    def _gather(self, breach: Breach) -> Evidence:
        try:
            reference = self.assessors.prepare(breach.scope).reference
        except MissingReference:
            reference = None
        of_outputs = breach.monitor.type is MonitorType.PREDICTION_DRIFT
        before = _rows(reference.columns) if reference else []
        window = _thin([row.inputs for row in breach.rows])
        before_outputs = _rows(reference.outputs) if reference and of_outputs else []
        with self.store.read() as connection:
            history = read_latest_windows(
                connection, breach.deployment_id, breach.monitor.name, breach.scope.revision, MAX_HISTORY - 1
            )
            estimate = _read_estimate(connection, breach)
        inside = _choose(breach, before), _choose(breach, window)
        latest = PastWindow(breach.start, breach.assessment.statistic or 0.0)
        return Evidence(
            columns=_names(reference, breach, of_outputs=of_outputs),
            reference=before_outputs if of_outputs else inside[0],
            window=_thin([row.outputs for row in breach.rows]) if of_outputs else inside[1],
            history=(*_past(history), latest),
            reference_inputs=inside[0],
            window_inputs=inside[1],
            slices=breach.monitoring.slices,
            estimate=estimate,
        )


def _names(reference: StoredReference | None, breach: Breach, *, of_outputs: bool) -> list[str]:
    if reference is None:
        return []
    if of_outputs:
        return [name for name in reference.outputs if not name.startswith("_")]
    return [
        column.name
        for column in reference.schema.features
        if column.name in reference.columns and column.name not in breach.scope.exclude
    ]


def _rows(columns: Columns) -> Rows:
    """Turn columns into rows, at most `MAX_ROWS`, spread evenly."""
    n = len(next(iter(columns.values()), ()))
    chosen = {name: values[:: _spread(n).step] for name, values in columns.items()}
    return [dict(zip(chosen, row, strict=True)) for row in zip(*chosen.values(), strict=True)]


def _thin(rows: Sequence[dict[str, Any]]) -> Rows:
    return [rows[i] for i in _spread(len(rows))]


def _spread(n: int) -> range:
    return range(0, n, max(1, -(-n // MAX_ROWS)))


def _choose(breach: Breach, rows: Rows) -> Rows:
    """Leave the rows of the monitor's own slice."""
    where = next((s.where for s in breach.monitoring.slices if s.name == breach.monitor.slice), None)
    if where is None:
        return rows
    return [row for row, inside in zip(rows, choose_rows(parse_where(where), rows), strict=True) if inside]


def _read_estimate(connection: Connection, breach: Breach) -> Estimate | None:
    found = next(
        (
            monitor
            for monitor in breach.monitoring.monitors
            if monitor.estimated_performance is not None and monitor.name != breach.monitor.name
        ),
        None,
    )
    if found is None or found.estimated_performance is None:
        return None
    windows = read_latest_windows(
        connection, breach.deployment_id, found.name, breach.scope.revision, MAX_HISTORY
    )
    return Estimate(found.name, found.estimated_performance.metric.value, _past(windows))


def _past(windows: Sequence[JudgedWindow]) -> list[PastWindow]:
    return [PastWindow(w.start, w.statistic) for w in windows if w.statistic is not None]
