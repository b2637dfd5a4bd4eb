"""Finds or builds the monitor that judges a window, and remembers it while its reference is in force."""

import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_api.modeldeployment.monitoring import (
    DataQuality,
    Drift,
    Monitor,
    MonitorSettings,
    MonitorType,
    Outlier,
    ReferenceSource,
)

from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.monitors.comparing import Prepared, prepare_reference
from perennial_observer.monitors.custom import Asked, CustomCalls, assess_answer
from perennial_observer.monitors.performance import assess_performance
from perennial_observer.monitors.quality.assess import assess_quality
from perennial_observer.monitors.quality.rejections import read_rejected
from perennial_observer.monitors.reference_sources import MissingReference, Scope, find_reference
from perennial_observer.monitors.slices import slice_reference
from perennial_observer.monitors.verdicts import Assessment, assess_too_few
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import LoggedRow
from perennial_observer.store.store import Store

__all__ = ["Assessors", "MissingReference", "Prepared", "Question", "Scope"]


# A file that can't be fetched is asked for again after a while, not at every look.
RETRY_S = 60.0


@dataclass(frozen=True)
class Question:
    """One window of a monitor that is to be judged."""

    scope: Scope
    monitor: Monitor
    settings: MonitorSettings
    rows: Sequence[LoggedRow]


@dataclass
class Assessors:
    """Judges windows of any monitor type."""

    store: Store
    sidecar: Sidecar
    monotonic: Callable[[], float] = time.monotonic
    custom: CustomCalls = field(default_factory=CustomCalls)
    _prepared: dict[Scope, Prepared] = field(default_factory=dict)
    _missing: dict[Scope, tuple[float, MissingReference]] = field(default_factory=dict)

    def assess(
        self, scope: Scope, monitor: Monitor, settings: MonitorSettings, rows: Sequence[LoggedRow]
    ) -> Assessment:
        """Judge one window.

        Raises
        ------
        MissingReference
            If the monitor needs one and there is none.
        UnknownFeature
            If the monitor names features that there aren't.
        DetectorUnavailable, DetectorFailure
            From the sidecar.
        """
        return _JUDGES[monitor.type](self, Question(scope, monitor, settings, rows))

    def flag_outliers(
        self, scope: Scope, spec: Outlier, rows: Sequence[Mapping[str, Any]]
    ) -> npt.NDArray[np.bool_]:
        """Tell which rows are odd by the scope's reference, bool (n,); raises as :meth:`assess` does."""
        return self.prepare(scope).outliers(spec).flag(rows)

    def keep_only(self, in_force: AbstractSet[tuple[str, str]]) -> None:
        """Drop what was built for (uid, revision) pairs that are not in force any more."""
        self._prepared = {
            scope: kept
            for scope, kept in self._prepared.items()
            if (scope.key.uid, scope.revision) in in_force
        }
        self._missing = {
            scope: missing
            for scope, missing in self._missing.items()
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
            reference = slice_reference(scope.condition, self._find(scope))
            prepared = prepare_reference(reference, scope, self.sidecar)
            # A spec that was edited leaves a reference behind which nobody asks for any more.
            same = (scope.key.uid, scope.revision, scope.condition)
            self._prepared = {
                other: kept
                for other, kept in self._prepared.items()
                if (other.key.uid, other.revision, other.condition) != same
            }
            self._prepared[scope] = prepared
        return self._prepared[scope]

    def _find(self, scope: Scope) -> StoredReference:
        until, missing = self._missing.get(scope, (float("-inf"), None))
        if missing is not None and self.monotonic() < until:
            raise missing
        self._missing.pop(scope, None)
        try:
            return find_reference(self.store, scope)
        except MissingReference as found:
            if scope.reference.source is ReferenceSource.URI:
                self._missing[scope] = (self.monotonic() + RETRY_S, found)
            raise


def _judge_performance(_: Assessors, question: Question) -> Assessment:
    spec = question.monitor.performance
    assert spec is not None, "the API demands it"
    return assess_performance(question.rows, spec, question.settings)


def _judge_drift(assessors: Assessors, question: Question) -> Assessment:
    spec = question.monitor.drift or Drift()
    monitor = assessors.prepare(question.scope).drift(spec, of_outputs=False)
    return monitor.assess(question.rows, question.settings)


def _judge_prediction_drift(assessors: Assessors, question: Question) -> Assessment:
    spec = question.monitor.prediction_drift or Drift()
    monitor = assessors.prepare(question.scope).drift(spec, of_outputs=True)
    return monitor.assess(question.rows, question.settings)


def _judge_outliers(assessors: Assessors, question: Question) -> Assessment:
    spec = question.monitor.outlier or Outlier()
    monitor = assessors.prepare(question.scope).outliers(spec)
    return monitor.assess(question.rows, question.settings, spec)


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
    MonitorType.PREDICTION_DRIFT: _judge_prediction_drift,
}
