"""Finds or builds the monitor that judges a window, and remembers it while its reference is in force."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import (
    DataQuality,
    Monitor,
    MonitorSettings,
    MonitorType,
    Outlier,
)
from perennial_api.where import Condition

from perennial_observer.detectors.base import Floats
from perennial_observer.detectors.isolation_forest import IsolationForestDetector
from perennial_observer.detectors.ks import KSDetector
from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.monitors.custom import Asked, CustomCalls, assess_answer
from perennial_observer.monitors.drift import DriftMonitor
from perennial_observer.monitors.encoding import Encoder, build_encoder
from perennial_observer.monitors.outlier import OutlierMonitor
from perennial_observer.monitors.performance import assess_performance
from perennial_observer.monitors.quality.assess import assess_quality
from perennial_observer.monitors.quality.rejections import read_rejected
from perennial_observer.monitors.slices import slice_reference
from perennial_observer.monitors.verdicts import Assessment, assess_too_few
from perennial_observer.store.references import StoredReference, read_reference
from perennial_observer.store.rows import DeploymentKey, LoggedRow
from perennial_observer.store.store import Store

__all__ = ["Assessors", "MissingReference", "Prepared", "Question", "Scope"]


class MissingReference(Exception):
    """The revision's server hasn't sent a usable reference (yet)."""


@dataclass(frozen=True)
class Scope:
    """Whose windows are judged against which reference.

    Parameters
    ----------
    exclude
        Columns that the logger leaves out.
    condition
        Of the slice that is looked at; None for all rows.
    """

    key: DeploymentKey
    revision: str
    exclude: tuple[str, ...] = ()
    condition: Condition | None = None


@dataclass(frozen=True)
class Question:
    """One window of a monitor that is to be judged."""

    scope: Scope
    monitor: Monitor
    settings: MonitorSettings
    rows: Sequence[LoggedRow]


@dataclass
class Prepared:
    """One revision's reference, as it was sent and encoded, with the monitors built on it."""

    reference: StoredReference
    encoder: Encoder
    matrix: Floats
    drift: DriftMonitor
    outliers: dict[float, OutlierMonitor] = field(default_factory=dict)


@dataclass
class Assessors:
    """Judges windows of any monitor type."""

    store: Store
    sidecar: Sidecar
    custom: CustomCalls = field(default_factory=CustomCalls)
    _prepared: dict[Scope, Prepared] = field(default_factory=dict)

    def assess(
        self, scope: Scope, monitor: Monitor, settings: MonitorSettings, rows: Sequence[LoggedRow]
    ) -> Assessment:
        """Judge one window.

        Raises
        ------
        MissingReference
            If the monitor needs one and there is none.
        DetectorUnavailable, DetectorFailure
            From the sidecar.
        """
        return _JUDGES[monitor.type](self, Question(scope, monitor, settings, rows))

    def flag_outliers(
        self, scope: Scope, spec: Outlier, rows: Sequence[Mapping[str, Any]]
    ) -> npt.NDArray[np.bool_]:
        """Tell which rows are odd by the scope's reference, bool (n,); raises as :meth:`assess` does."""
        return self.outlier_monitor(scope, spec).flag(rows)

    def outlier_monitor(self, scope: Scope, spec: Outlier) -> OutlierMonitor:
        """Find or build what judges single rows by the scope's reference; raises as :meth:`assess` does."""
        prepared = self.prepare(scope)
        if spec.contamination not in prepared.outliers:
            detector = IsolationForestDetector(self.sidecar, spec.contamination)
            prepared.outliers[spec.contamination] = OutlierMonitor(
                prepared.encoder, prepared.matrix, detector
            )
        return prepared.outliers[spec.contamination]

    def keep_only(self, in_force: AbstractSet[tuple[str, str]]) -> None:
        """Drop what was built for (uid, revision) pairs that are not in force any more."""
        self._prepared = {
            scope: kept
            for scope, kept in self._prepared.items()
            if (scope.key.uid, scope.revision) in in_force
        }

    def prepare(self, scope: Scope) -> Prepared:
        """Read and encode the scope's reference, once while it is in force.

        Raises
        ------
        MissingReference
            There is none, or none that can be compared with.
        """
        if scope not in self._prepared:
            with self.store.read() as connection:
                reference = read_reference(connection, scope.key.uid, scope.revision)
            if reference is None:
                raise MissingReference(f"revision {scope.revision} has sent no reference sample")
            reference = slice_reference(scope.condition, reference)
            encoder = build_encoder(reference.schema, reference.columns, scope.exclude)
            if encoder is None:
                raise MissingReference("the reference sample holds none of the logged features")
            matrix = encoder.encode(reference.columns)
            drift = DriftMonitor(encoder, matrix, lambda: KSDetector(self.sidecar))
            self._prepared[scope] = Prepared(reference, encoder, matrix, drift)
        return self._prepared[scope]


def _judge_performance(_: Assessors, question: Question) -> Assessment:
    spec = question.monitor.performance
    assert spec is not None, "the API demands it"
    return assess_performance(question.rows, spec, question.settings)


def _judge_drift(assessors: Assessors, question: Question) -> Assessment:
    return assessors.prepare(question.scope).drift.assess(question.rows, question.settings)


def _judge_outliers(assessors: Assessors, question: Question) -> Assessment:
    spec = question.monitor.outlier or Outlier()
    return assessors.outlier_monitor(question.scope, spec).assess(question.rows, question.settings, spec)


def _judge_quality(assessors: Assessors, question: Question) -> Assessment:
    scope = question.scope
    return assess_quality(
        question.rows,
        assessors.prepare(scope).reference,
        question.monitor.data_quality or DataQuality(),
        question.settings,
        exclude=scope.exclude,
        # Rows that don't fit are of no slice.
        rejected=None
        if scope.condition
        else read_rejected(assessors.store, scope.key.uid, scope.revision, question.rows),
    )


def _judge_custom(assessors: Assessors, question: Question) -> Assessment:
    """Judge by the user's number; raises NotYetJudged until it is there."""
    scope, rows, spec = question.scope, question.rows, question.monitor.custom
    assert spec is not None, "the API demands it"
    if len(rows) < question.settings.window.min_samples:
        return assess_too_few(len(rows), question.settings.window.min_samples)
    reference = None
    with suppress(MissingReference):
        reference = assessors.prepare(scope).reference
    name = question.monitor.name
    about = {
        "namespace": scope.key.namespace,
        "deployment": scope.key.name,
        "revision": scope.revision,
        "monitor": name,
    }
    place = (scope.key.uid, scope.revision, name)
    answer = assessors.custom.ask(place, spec, Asked(about, rows, reference))
    return assess_answer(answer, spec, len(rows))


_JUDGES: Mapping[MonitorType, Callable[[Assessors, Question], Assessment]] = {
    MonitorType.CUSTOM: _judge_custom,
    MonitorType.DATA_QUALITY: _judge_quality,
    MonitorType.DRIFT: _judge_drift,
    MonitorType.OUTLIER: _judge_outliers,
    MonitorType.PERFORMANCE: _judge_performance,
}
