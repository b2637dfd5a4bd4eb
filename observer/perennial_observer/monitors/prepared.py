"""Builds the monitors that compare with a reference, each once, and keeps them with it."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from perennial_api.modeldeployment.monitoring import Drift, DriftDetector, Outlier, Seasonality
from perennial_bundle.encoding import Encoder, build_column_encoder, build_encoder

from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.monitors.drift.methods import choose_method
from perennial_observer.monitors.drift.monitor import CALIBRATIONS_BYTES, Calibrations, DriftMonitor
from perennial_observer.monitors.drift.outputs import Outputs, choose_outputs
from perennial_observer.monitors.drift.yardstick import Compared
from perennial_observer.monitors.outlier import OutlierMonitor, make_detector
from perennial_observer.monitors.references.beside import Maker, make_here
from perennial_observer.monitors.references.kept import Kept, reckon_bytes
from perennial_observer.monitors.references.packing import pack_columns, pack_reference
from perennial_observer.monitors.references.sources import MissingReference, Scope
from perennial_observer.monitors.windows.slices import UnknownFeature
from perennial_observer.store.references import StoredReference

__all__ = ["Prepared", "prepare_reference"]

# Specs are edited; what an earlier one needed goes.
MAX_MONITORS = 32
Columns = Mapping[str, Sequence[Any]]


@dataclass
class Prepared:
    """One revision's reference, as it was sent, with the monitors built on it.

    Parameters
    ----------
    name
        Whose it is, under which calibrations are found again after it had to go for a while.
    make
        Makes what takes long.
    """

    reference: StoredReference
    encoder: Encoder
    n_rows: int
    sidecar: Sidecar
    name: Hashable
    calibrations: Calibrations
    make: Maker = make_here
    seasonality: Seasonality = Seasonality.NONE
    _drifts: dict[tuple[Drift, bool], DriftMonitor] = field(default_factory=dict)
    _outliers: dict[Outlier, OutlierMonitor] = field(default_factory=dict)
    # What had been built when it was reckoned, and the size.
    _reckoned: tuple[tuple[int, ...], int] = ((), 0)

    @property
    def size_bytes(self) -> int:
        """What it takes in memory by now; the monitors built on it grow."""
        built = (
            len(self._drifts),
            sum(monitor.count_fitted() for monitor in self._drifts.values()),
            sum(monitor.is_fitted for monitor in self._outliers.values()),
        )
        if self._reckoned[0] != built:
            found = reckon_bytes(self, shared=(self.sidecar, self.calibrations, self.name, self.make))
            self._reckoned = (built, found)
        return self._reckoned[1]

    def drift(self, spec: Drift, *, of_outputs: bool) -> DriftMonitor:
        """Find or build the monitor that compares windows of inputs, or of outputs.

        Raises
        ------
        MissingReference
            Outputs are to be compared, and the reference has none.
        UnknownFeature
            Features are named that there aren't.
        """
        key = (spec, of_outputs)
        if key not in self._drifts:
            _make_room(self._drifts)
            if of_outputs or spec.detector is DriftDetector.CLASSIFIER_UNCERTAINTY:
                outputs = self._outputs(spec)
                encoder = build_column_encoder(outputs.columns, outputs.values)
                assert encoder is not None, "there is at least one output"
                self._drifts[key] = self._build(spec, encoder, pack_columns(outputs.values), outputs)
            else:
                self._drifts[key] = self._build(spec, self.encoder, self.reference.columns, None)
        return self._drifts[key]

    def outliers(self, spec: Outlier) -> OutlierMonitor:
        """Find or build the monitor that judges single rows; how many may be odd doesn't matter to it."""
        # The bound is held apart, and must be above contamination.
        key = spec.model_copy(update={"max_rate": 1.0})
        if key not in self._outliers:
            _make_room(self._outliers)
            detector = make_detector(spec, self.sidecar)
            self._outliers[key] = OutlierMonitor(
                self.encoder,
                self.reference.columns,
                self.n_rows,
                detector,
                make=self.make,
                name=(self.name, self.reference.digest, key),
            )
        return self._outliers[key]

    def _outputs(self, spec: Drift) -> Outputs:
        only = "probability" if spec.detector is DriftDetector.CLASSIFIER_UNCERTAINTY else None
        outputs = choose_outputs(self.reference, only)
        if outputs is None:
            raise MissingReference(
                f"the reference has no {only or 'outputs'} to compare with: "
                + (
                    "this detector is for models that answer probabilities"
                    if only
                    else "save the bundle with a reference, or take a stretch of the log"
                ),
                "NoReferenceOutputs",
            )
        return outputs

    def _build(self, spec: Drift, encoder: Encoder, values: Columns, outputs: Outputs | None) -> DriftMonitor:
        if spec.features:
            unknown = sorted(set(spec.features) - set(encoder.names))
            if unknown:
                raise UnknownFeature(
                    f"features names {', '.join(unknown)}, which the reference or the log doesn't have; there are"
                    f" {', '.join(encoder.names)}"
                )
            encoder, _ = encoder.choose(spec.features)
        method = choose_method(spec)
        # Nothing that is built here may hold what holds it: it would stay in memory until a collection.
        sidecar = self.sidecar
        times = self.reference.event_time
        compared = Compared(
            encoder,
            values,
            self.n_rows,
            method,
            lambda: method.make(encoder, sidecar),
            None if times is None else np.array(times, dtype=np.float64),
        )
        min_effect = method.min_effect if spec.min_effect is None else spec.min_effect
        monitor = DriftMonitor(
            compared,
            min_effect,
            seasonality=self.seasonality,
            calibrations=self.calibrations,
            make=self.make,
            name=(self.name, self.reference.digest, spec, outputs is not None),
        )
        return monitor if outputs is None else replace(monitor, read=outputs.read)


def prepare_reference(
    reference: StoredReference,
    scope: Scope,
    sidecar: Sidecar,
    calibrations: Calibrations | None = None,
    make: Maker = make_here,
) -> Prepared:
    """Pack a reference, and choose how its rows become numbers.

    Parameters
    ----------
    calibrations
        Where they are kept with those of other references; None for a place of its own.
    make
        Makes what takes long.

    Raises
    ------
    MissingReference
        It can't be compared with.
    """
    packed = pack_reference(reference)
    encoder = build_encoder(packed.schema, packed.columns, scope.exclude)
    if encoder is None:
        raise MissingReference("the reference sample holds none of the logged features")
    n_rows = len(packed.columns[encoder.names[0]])
    kept = Kept(CALIBRATIONS_BYTES) if calibrations is None else calibrations
    return Prepared(packed, encoder, n_rows, sidecar, scope, kept, make, scope.reference.seasonality)


def _make_room(kept: dict[Any, Any]) -> None:
    while len(kept) >= MAX_MONITORS:
        del kept[next(iter(kept))]
