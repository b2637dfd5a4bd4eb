"""How each detector that the API spells is used: who computes it, on which form of the rows, and in which unit."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from perennial_api.modeldeployment.monitoring import Drift, DriftDetector, Engine
from perennial_bundle.encoding import Encoder

from perennial_observer.detectors.alibi import AlibiClassifier, AlibiColumns, AlibiUncertainty
from perennial_observer.detectors.base import Detector
from perennial_observer.detectors.native.bins import Binned
from perennial_observer.detectors.native.certainty import Probabilities
from perennial_observer.detectors.native.dependence import DependenceDetector
from perennial_observer.detectors.native.distances import ColumnDetector, cvm_distance, ks_distance
from perennial_observer.detectors.native.mmd import MMDDetector
from perennial_observer.detectors.native.shares import chi_square_distance, psi
from perennial_observer.detectors.sidecar import Sidecar

__all__ = ["Form", "Method", "choose_method"]


class Form(Enum):
    """What a detector gets to see."""

    COLUMNS = "a column for each number, each category and each feature's missing values"
    COMPACT = "a column for each feature, categories as codes, and one for its missing values"
    KNOWN = "as COLUMNS, with the reference's median where a number is missing"


@dataclass(frozen=True)
class Method:
    """One detector by one engine.

    Parameters
    ----------
    make
        A fresh, unfitted detector.
    unit
        What its statistic is, in words for people.
    min_effect
        Smallest statistic that counts where the spec says nothing: about what a shift by an eighth of a standard
        deviation gives.
    highest
        Largest value of the statistic; infinite where there is none, None where chance often gives exactly 0.
    """

    make: Callable[[Encoder, Sidecar], Detector]
    form: Form
    unit: str
    min_effect: float = 0.05
    highest: float | None = 1.0

    @property
    def by_feature(self) -> bool:
        """Whether each feature has a statistic of its own."""
        return self.form is not Form.KNOWN

    @property
    def is_ks(self) -> bool:
        """Whether a p-value is known without any block."""
        return self.unit == _KS


_KS = "KS distance"
_CVM = "CVM distance"
_V = "Cramér's V"


def choose_method(drift: Drift) -> Method:
    """Find who computes what the spec asks for; alibi-detect does where it can and nothing else is said."""
    engine = drift.engine
    if engine is None:
        engine = Engine.ALIBI_DETECT if (drift.detector, Engine.ALIBI_DETECT) in _METHODS else Engine.NATIVE
    return _METHODS[drift.detector, engine]


_METHODS: Mapping[tuple[DriftDetector, Engine], Method] = {
    (DriftDetector.KS, Engine.ALIBI_DETECT): Method(
        lambda _, sidecar: AlibiColumns(sidecar, "ks"), Form.COLUMNS, _KS
    ),
    (DriftDetector.KS, Engine.NATIVE): Method(lambda *_: ColumnDetector(ks_distance), Form.COLUMNS, _KS),
    (DriftDetector.CVM, Engine.ALIBI_DETECT): Method(
        lambda _, sidecar: AlibiColumns(sidecar, "cvm"), Form.COLUMNS, _CVM, min_effect=0.00125, highest=1 / 3
    ),
    (DriftDetector.CVM, Engine.NATIVE): Method(
        lambda *_: ColumnDetector(cvm_distance), Form.COLUMNS, _CVM, min_effect=0.00125, highest=1 / 3
    ),
    (DriftDetector.CHI_SQUARE, Engine.ALIBI_DETECT): Method(
        lambda encoder, sidecar: Binned(AlibiColumns(sidecar, "chi_square"), encoder.compact_is_category),
        Form.COMPACT,
        _V,
    ),
    (DriftDetector.CHI_SQUARE, Engine.NATIVE): Method(
        lambda encoder, _: Binned(ColumnDetector(chi_square_distance), encoder.compact_is_category),
        Form.COMPACT,
        _V,
    ),
    (DriftDetector.FET, Engine.ALIBI_DETECT): Method(
        lambda _, sidecar: AlibiColumns(sidecar, "fet"), Form.COLUMNS, "Yule's Q", min_effect=0.1
    ),
    (DriftDetector.TABULAR, Engine.ALIBI_DETECT): Method(
        lambda encoder, sidecar: AlibiColumns(sidecar, "tabular", encoder.compact_is_category),
        Form.COMPACT,
        "KS distance or Cramér's V",
    ),
    (DriftDetector.CLASSIFIER, Engine.ALIBI_DETECT): Method(
        lambda _, sidecar: AlibiClassifier(sidecar), Form.KNOWN, "KS distance of a classifier's probabilities"
    ),
    (DriftDetector.CLASSIFIER_UNCERTAINTY, Engine.ALIBI_DETECT): Method(
        lambda _, sidecar: Probabilities(AlibiUncertainty(sidecar)),
        Form.KNOWN,
        "KS distance of the predictions' entropy",
    ),
    (DriftDetector.PSI, Engine.NATIVE): Method(
        lambda encoder, _: Binned(ColumnDetector(psi), encoder.compact_is_category),
        Form.COMPACT,
        "population stability index",
        min_effect=0.1,  # the usual rule of thumb
        highest=math.inf,
    ),
    (DriftDetector.MMD, Engine.NATIVE): Method(
        lambda *_: MMDDetector(), Form.KNOWN, "mean discrepancy", min_effect=0.01, highest=math.inf
    ),
    (DriftDetector.DEPENDENCE, Engine.NATIVE): Method(
        lambda *_: DependenceDetector(), Form.KNOWN, "2 AUC - 1 of a forest", highest=None
    ),
}
