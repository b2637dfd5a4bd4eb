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
    Concept,
    DataQuality,
    Drift,
    EstimationMethod,
    Monitor,
    MonitorSettings,
    MonitorType,
    Outlier,
    ReferenceSource,
)
from perennial_api.where import Condition
from perennial_bundle.oddness import LEAST_REFERENCE_ROWS

from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.monitors.alarms.verdicts import Assessment, assess_too_few
from perennial_observer.monitors.custom.monitor import Asked, CustomCalls, assess_answer
from perennial_observer.monitors.drift.monitor import Calibrations
from perennial_observer.monitors.estimates.learning import Learning
from perennial_observer.monitors.estimates.monitor import assess_estimated
from perennial_observer.monitors.labels.concept import assess_concept, history_rows
from perennial_observer.monitors.labels.fairness import assess_fairness
from perennial_observer.monitors.labels.labelled import Unusable, assess_unusable
from perennial_observer.monitors.labels.performance import assess_performance
from perennial_observer.monitors.prepared import Prepared, prepare_reference
from perennial_observer.monitors.quality.assess import assess_quality
from perennial_observer.monitors.quality.rejections import counts_misfits, read_rejected
from perennial_observer.monitors.quality.volume import read_volume
from perennial_observer.monitors.references.beside import Beside, Maker, make_here
from perennial_observer.monitors.references.classes import BundleClasses
from perennial_observer.monitors.references.kept import Kept
from perennial_observer.monitors.references.sources import MissingReference, Scope, find_reference
from perennial_observer.monitors.windows.slices import check_columns, slice_reference, slice_rows
from perennial_observer.store.labelled import read_before
from perennial_observer.store.reads import Position
from perennial_observer.store.reference_files import ReferenceFiles
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import LoggedRow
from perennial_observer.store.shelf import Shelf
from perennial_observer.store.store import Store

__all__ = ["Assessors", "MissingReference", "Prepared", "Question", "Scope"]


# A file that can't be fetched, or rows that can't be used, are asked for again after a while, not at every look.
RETRY_S = 60.0

MAX_BYTES = 256 << 20
# What is small and was costly to find, and what estimates have learnt, may each take one part of so many.
PARTS = 8


@dataclass(frozen=True)
class Question:
    """One window of a monitor that is to be judged.

    Parameters
    ----------
    slices
        Those that the monitor compares with each other, by name.
    rejected_until
        Up to which arrival rows that didn't fit have been counted; None if that isn't known.
    """

    scope: Scope
    monitor: Monitor
    settings: MonitorSettings
    rows: Sequence[LoggedRow]
    slices: Mapping[str, Condition] = field(default_factory=dict)
    rejected_until: float | None = None


@dataclass
class Assessors:
    """Judges windows of any monitor type.

    Parameters
    ----------
    max_bytes
        Of references in memory with all that is made of them. One that has gone is read and encoded again when a window
        of it closes, to the same result.
    shelf
        Where those lie that can't be read a second time as they were.
    beside
        Makes what takes long while others are judged; None to wait for it.
    """

    store: Store
    sidecar: Sidecar
    monotonic: Callable[[], float] = time.monotonic
    custom: CustomCalls = field(default_factory=CustomCalls)
    files: ReferenceFiles = field(default_factory=ReferenceFiles)
    max_bytes: int = MAX_BYTES
    shelf: Shelf = field(default_factory=Shelf)
    beside: Beside | None = None
    classes: BundleClasses = field(init=False)
    learning: Learning = field(init=False)
    _prepared: Kept[Scope, Prepared] = field(init=False)
    _calibrations: Calibrations = field(init=False)
    _in_use: dict[Scope, Prepared] = field(default_factory=dict)
    _missing: dict[Scope, tuple[float, MissingReference]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        part = self.max_bytes // PARTS
        self._calibrations = Kept(part)
        self.classes = BundleClasses(self.store)
        self.learning = Learning(part)
        self._prepared = Kept(self.max_bytes - 2 * part)

    def assess(self, question: Question) -> Assessment:
        """Judge one window.

        Raises
        ------
        MissingReference
            If the monitor needs one and there is none.
        UnknownFeature
            If the monitor names features that there aren't.
        DetectorUnavailable, DetectorFailure
            From the sidecar.
        Preparing
            If what it is judged by is still being made.
        """
        try:
            return _JUDGES[question.monitor.type](self, question)
        finally:
            self._settle()

    def flag_outliers(
        self, scope: Scope, spec: Outlier, rows: Sequence[Mapping[str, Any]]
    ) -> npt.NDArray[np.bool_]:
        """Tell which rows are odd by the scope's reference, bool (n,); raises as :meth:`assess` does."""
        try:
            return self.prepare(scope).outliers(spec).flag(rows)
        finally:
            self._settle()

    def keep_only(self, in_force: AbstractSet[tuple[str, str]]) -> None:
        """Drop what was built for (uid, revision) pairs that are not in force any more; the end of each look."""

        def is_wanted(scope: Scope) -> bool:
            return (scope.key.uid, scope.revision) in in_force

        self._settle()
        self.custom.end_look()
        if self.beside is not None:
            self.beside.end_look()
        self.learning.keep_only(in_force)
        self._prepared.keep_only(is_wanted)
        self._calibrations.keep_only(lambda key: is_wanted(_scope_of(key)))
        self.classes.keep_only(in_force)
        self.shelf.keep_only(lambda name: isinstance(name, Scope) and is_wanted(name))
        self._missing = {scope: missing for scope, missing in self._missing.items() if is_wanted(scope)}

    def prepare(self, scope: Scope) -> Prepared:
        """Find the scope's reference, or read and pack it.

        Raises
        ------
        MissingReference
            There is none, or none that can be compared with.
        Preparing
            It is being read.
        """
        found = self._in_use.get(scope) or self._prepared.get(scope)
        if found is None:
            reference = slice_reference(scope.condition, self._find(scope))
            found = prepare_reference(reference, scope, self.sidecar, self._calibrations, self.make)
            # A spec that was edited leaves a reference behind which nobody asks for any more.
            self._prepared.keep_only(lambda other: not _takes_place_of(scope, other))
            self._calibrations.keep_only(lambda key: not _takes_place_of(scope, _scope_of(key)))
        self._in_use[scope] = found
        return found

    def close(self) -> None:
        """Begin nothing more beside the looks."""
        if self.beside is not None:
            self.beside.close()

    @property
    def make(self) -> Maker:
        """What makes what takes long."""
        return make_here if self.beside is None else self.beside.make

    def _settle(self) -> None:
        """Reckon anew what was used, which grows with what is built on it, and make room."""
        while self._in_use:
            scope, used = self._in_use.popitem()
            self._prepared.put(scope, used, used.size_bytes)

    def _find(self, scope: Scope) -> StoredReference:
        until, missing = self._missing.get(scope, (float("-inf"), None))
        if missing is not None and self.monotonic() < until:
            raise missing
        self._missing.pop(scope, None)
        aside = self.shelf.get(scope)
        if aside is not None:
            return aside
        is_near = scope.reference.source is ReferenceSource.BUNDLE
        make = make_here if is_near else self.make
        try:
            found = make(("reference", scope), lambda: find_reference(self.store, scope, self.files))
        except MissingReference as lack:
            if scope.reference.source is ReferenceSource.URI or lack.reason == "ReferenceUnreadable":
                self._missing[scope] = (self.monotonic() + RETRY_S, lack)
            raise
        if not is_near:
            self.shelf.put(scope, found)
        return found


def _takes_place_of(scope: Scope, other: Scope) -> bool:
    """Whether the other is of the same rows' windows, by a spec of before."""
    return scope != other and (scope.key.uid, scope.revision, scope.condition) == (
        other.key.uid,
        other.revision,
        other.condition,
    )


def _scope_of(key: tuple[Any, Any]) -> Scope:
    """Whose a calibration is."""
    scope: Scope = key[0][0]
    return scope


def _prepare_large(assessors: Assessors, scope: Scope) -> Prepared:
    """Prepare a reference for those who compare distributions, which a handful of rows don't have.

    Raises
    ------
    MissingReference
        There is none, or one of too few rows; detectors would fail on some of those, each in its own way.
    """
    prepared = assessors.prepare(scope)
    n = prepared.n_rows
    if n >= LEAST_REFERENCE_ROWS:
        return prepared
    if scope.condition is not None:
        raise MissingReference(
            f"{n} of the reference's rows are in the slice, {LEAST_REFERENCE_ROWS} are needed: give a reference that has"
            " it, or a wider slice",
            "SliceNotInReference",
        )
    raise MissingReference(
        f"the reference has {n} rows, {LEAST_REFERENCE_ROWS} are needed: give a larger one",
        "ReferenceTooSmall",
    )


def _judge_performance(assessors: Assessors, question: Question) -> Assessment:
    spec = question.monitor.performance
    assert spec is not None, "the API demands it"
    classes = assessors.classes.of(question.scope)
    return assess_performance(question.rows, spec, question.settings, classes)


def _judge_drift(assessors: Assessors, question: Question) -> Assessment:
    spec = question.monitor.drift or Drift()
    monitor = _prepare_large(assessors, question.scope).drift(spec, of_outputs=False)
    return monitor.assess(question.rows, question.settings)


def _judge_prediction_drift(assessors: Assessors, question: Question) -> Assessment:
    spec = question.monitor.prediction_drift or Drift()
    monitor = _prepare_large(assessors, question.scope).drift(spec, of_outputs=True)
    return monitor.assess(question.rows, question.settings)


def _judge_outliers(assessors: Assessors, question: Question) -> Assessment:
    spec = question.monitor.outlier or Outlier()
    monitor = _prepare_large(assessors, question.scope).outliers(spec)
    return monitor.assess(question.rows, question.settings, spec)


def _judge_quality(assessors: Assessors, question: Question) -> Assessment:
    scope = question.scope
    spec = question.monitor.data_quality or DataQuality()
    misfits, until, volume = None, None, None
    if spec.min_per_hour is not None:
        window = question.settings.window
        volume = read_volume(assessors.store, scope.key.uid, scope.revision, question.rows, window)
    if counts_misfits(question.monitor):
        place, after = (scope.key.uid, scope.revision), question.rejected_until
        misfits, until = read_rejected(assessors.store, *place, question.rows, after=after)
    assessment = assess_quality(
        question.rows,
        assessors.prepare(scope).reference,
        spec,
        question.settings,
        exclude=scope.exclude,
        volume=volume,
        rejected=None if misfits is None else misfits.reasons,
    )
    return assessment.model_copy(update={"rejected_until": until})


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


def _judge_estimated(assessors: Assessors, question: Question) -> Assessment:
    spec = question.monitor.estimated_performance
    assert spec is not None, "the API demands it"
    prepared = None
    try:
        prepared = assessors.prepare(question.scope)
    except MissingReference:
        # CBPE needs nothing but the model's answers; DLE reads the inputs as the reference has them.
        if spec.method is EstimationMethod.DLE:
            raise
    learnt = None
    if question.rows:
        now = question.rows[-1].event_time
        learnt = assessors.learning.find(
            assessors.store,
            question.scope,
            question.monitor,
            prepared,
            now=now,
            classes=assessors.classes.of(question.scope),
            make=assessors.make,
        )
    encoder = prepared.encoder if prepared is not None else None
    classes = assessors.classes.of(question.scope)
    return assess_estimated(question.rows, spec, question.settings, learnt, encoder, classes=classes)


def _judge_concept(assessors: Assessors, question: Question) -> Assessment:
    spec, scope = question.monitor.concept or Concept(), question.scope
    is_regression = assessors.prepare(scope).reference.task == "Regression"
    history: Sequence[LoggedRow] = ()
    if question.rows:
        first = Position(question.rows[0].event_time, question.rows[0].id)
        limit = history_rows(question.settings.window.size)
        with assessors.store.read() as connection:
            before = read_before(connection, scope.key.uid, scope.revision, before=first, limit=limit)
        history = slice_rows(scope.condition, before)
    return assess_concept(question.rows, history, spec, question.settings, is_regression=is_regression)


def _judge_fairness(assessors: Assessors, question: Question) -> Assessment:
    spec = question.monitor.fairness
    assert spec is not None, "the API demands it"
    reference = assessors.prepare(question.scope).reference
    for condition in question.slices.values():
        check_columns(condition, reference.schema, question.scope.exclude)
    if reference.task == "Regression":
        why = Unusable(
            "MetricNotDefined", "fairness compares shares of classes, and this model is a regression"
        )
        return assess_unusable(why, len(question.rows))
    seen = (*reference.outputs.get("predict", ()), *(reference.labels or ()))
    known = [value for value in seen if value is not None]
    return assess_fairness(question.rows, spec, question.settings, question.slices, known)


_JUDGES: Mapping[MonitorType, Callable[[Assessors, Question], Assessment]] = {
    MonitorType.CONCEPT: _judge_concept,
    MonitorType.CUSTOM: _judge_custom,
    MonitorType.DATA_QUALITY: _judge_quality,
    MonitorType.DRIFT: _judge_drift,
    MonitorType.ESTIMATED_PERFORMANCE: _judge_estimated,
    MonitorType.FAIRNESS: _judge_fairness,
    MonitorType.OUTLIER: _judge_outliers,
    MonitorType.PERFORMANCE: _judge_performance,
    MonitorType.PREDICTION_DRIFT: _judge_prediction_drift,
}
