"""Monitors of what goes in and comes out: drift, single odd rows, and the quality of the data."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.types import AtLeast, Column, Float, Int, Unique

__all__ = [
    "DataQuality",
    "Drift",
    "DriftDetector",
    "Engine",
    "Outlier",
    "OutlierDetector",
    "Reaction",
]


class Engine(StrEnum):
    """Whose code computes a statistic."""

    ALIBI_DETECT = "AlibiDetect"
    NATIVE = "Native"


class DriftDetector(StrEnum):
    """Statistic that compares a window with the reference."""

    KS = "KS"
    CVM = "CVM"
    CHI_SQUARE = "ChiSquare"
    FET = "FET"
    TABULAR = "Tabular"
    CLASSIFIER = "Classifier"
    CLASSIFIER_UNCERTAINTY = "ClassifierUncertainty"
    PSI = "PSI"
    MMD = "MMD"
    DEPENDENCE = "Dependence"


_ONLY_NATIVE = (DriftDetector.PSI, DriftDetector.MMD, DriftDetector.DEPENDENCE)
_ONLY_ALIBI = (
    DriftDetector.FET,
    DriftDetector.TABULAR,
    DriftDetector.CLASSIFIER,
    DriftDetector.CLASSIFIER_UNCERTAINTY,
)


def _has_engine(drift: "Drift") -> bool:
    forbidden = {Engine.ALIBI_DETECT: _ONLY_NATIVE, Engine.NATIVE: _ONLY_ALIBI}
    return drift.engine is None or drift.detector not in forbidden[drift.engine]


class Drift(Model):
    """Compares a window with what the model was trained on."""

    rules = (
        Rule(
            cel=(
                "!has(self.engine)"
                " || (self.engine == 'AlibiDetect' && !(self.detector in ['PSI', 'MMD', 'Dependence']))"
                " || (self.engine == 'Native'"
                " && !(self.detector in ['FET', 'Tabular', 'Classifier', 'ClassifierUncertainty']))"
            ),
            message="PSI, MMD and Dependence are Native; FET, Tabular, Classifier and ClassifierUncertainty are AlibiDetect: leave engine out",
            holds=_has_engine,
        ),
    )

    detector: DriftDetector = DriftDetector.KS
    """KS and CVM compare distributions, ChiSquare, FET and PSI shares, Tabular each column by its kind; Classifier, MMD
    and Dependence compare all columns together, ClassifierUncertainty how sure the model is."""
    engine: Engine | None = None
    """AlibiDetect (in the sidecar) or Native. Left out, AlibiDetect where it has the detector."""
    features: Annotated[tuple[Column, ...], Field(max_length=256), Unique()] = ()
    """Columns that are compared, at most 256; empty for all."""
    min_effect: Annotated[Float, Field(ge=0, le=1)] | None = None
    """Smallest statistic that counts, in the detector's unit: a shift too small to matter is no drift. Left out, about
    what a shift by an eighth of a standard deviation gives: 0.05 for most, 0.00125 for CVM, 0.01 for MMD, and 0.1 for PSI
    and FET."""


class OutlierDetector(StrEnum):
    """Detector of single odd rows."""

    ISOLATION_FOREST = "IsolationForest"
    MAHALANOBIS = "Mahalanobis"
    KNN = "KNN"


class Outlier(Model):
    """Counts single inputs that are odd by the measure of the reference."""

    rules = (
        Rule(
            cel="self.maxRate > self.contamination",
            message="outlier.maxRate must be larger than outlier.contamination, the share that is odd already",
            holds=lambda self: self.max_rate > self.contamination,
        ),
    )

    detector: OutlierDetector = OutlierDetector.ISOLATION_FOREST
    """IsolationForest scores how easily a row is set apart from the reference, Mahalanobis how far it is from the mean
    in units of the spread, KNN how far it is from the nearest rows."""
    contamination: Annotated[Float, Field(gt=0, le=0.5)] = 0.01
    """Share of the reference rows that counts as odd, a fraction above 0, at most 0.5; it sets the score's cut."""
    max_rate: Annotated[Float, Field(gt=0, le=1)] = 0.03
    """Share of a window's rows that may be odd, a fraction above 0, at most 1."""


class Reaction(StrEnum):
    """What a finding does."""

    ALERT = "Alert"
    IGNORE = "Ignore"


class DataQuality(Model):
    """Checks what arrives against the schema and the reference, feature by feature."""

    max_missing: Annotated[Float, Field(ge=0, le=1)] = 0.05
    """Share of missing values that a feature may have beyond the reference's own, a fraction from 0 to 1."""
    max_invalid: Annotated[Float, Field(ge=0, le=1)] = 0.01
    """Share of rows that may not fit the schema at all, and of a feature's values that may be of another type, a
    fraction from 0 to 1."""
    unseen_categories: Reaction = Reaction.ALERT
    """Alert on categories that the reference doesn't have, or Ignore them."""
    range: Reaction = Reaction.ALERT
    """Alert on numbers outside of the schema's range (else the reference's), or Ignore them."""
    max_odd: Annotated[Float, Field(ge=0, le=1)] = 0.01
    """Share of a feature's values that may be unseen or out of range, a fraction from 0 to 1."""
    min_per_hour: Annotated[Int, Field(ge=1)] | None = None
    """Fewest rows an hour that are normal; a window of fewer, beyond chance, is a breach. Left out, volume isn't
    watched."""
    max_silence: Annotated[Duration, AtLeast("1m")] | None = None
    """Longest time without any row that fits, by the clock; then it is an alarm at once, until one comes. Left out,
    silence isn't watched."""
