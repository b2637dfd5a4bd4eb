"""Monitors of how right the model is: by labels, without labels, and by the stream of its errors."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from perennial_api.base import Model, Rule
from perennial_api.durations import Duration
from perennial_api.types import Float, Int

__all__ = [
    "Concept",
    "ConceptDetector",
    "EstimatedPerformance",
    "EstimationMethod",
    "Labels",
    "Performance",
    "PerformanceMetric",
]


class PerformanceMetric(StrEnum):
    """Measures of realised performance, spelled as scikit-learn spells them."""

    ACCURACY = "accuracy"
    BALANCED_ACCURACY = "balanced_accuracy"
    ROC_AUC = "roc_auc"
    F1 = "f1"
    LOG_LOSS = "log_loss"
    MAE = "mae"
    RMSE = "rmse"

    @property
    def larger_is_better(self) -> bool:
        """Whether it is a score (bounded by ``min``) rather than a loss (bounded by ``max``)."""
        return self not in {PerformanceMetric.LOG_LOSS, PerformanceMetric.MAE, PerformanceMetric.RMSE}


class Labels(Model):
    """Which labels count."""

    maturity: Duration = Duration("1d")
    """How long after its event a prediction's label is waited for, in event time; younger predictions don't count."""
    min_coverage: Annotated[Float, Field(ge=0, le=1)] = 0.6
    """Share of a window's mature predictions that must have a label, a fraction from 0 to 1."""
    min_labels: Annotated[Int, Field(ge=10, le=100_000)] = 300
    """How many labels a window needs at least, in rows."""


# Of whatever has a metric and its bound.
_BOUND_RULES = (
    Rule(
        cel="has(self.min) != has(self.max)",
        message="give exactly one bound: min for a score such as accuracy, max for a loss such as rmse",
        holds=lambda self: (self.min is None) != (self.max is None),
    ),
    Rule(
        cel="has(self.max) == (self.metric in ['log_loss', 'mae', 'rmse'])",
        message="log_loss, mae and rmse are losses and take max; the other metrics are scores and take min",
        holds=lambda self: (self.max is None) == self.metric.larger_is_better,
    ),
)


class Performance(Model):
    """Measures how right the model is, by the labels that came back as feedback."""

    rules = _BOUND_RULES

    metric: PerformanceMetric
    """What is measured, in scikit-learn's spelling."""
    min: Annotated[Float, Field(ge=-1, le=1)] | None = None
    """Lowest acceptable value of a score (accuracy, balanced_accuracy, roc_auc, f1), in the metric's unit."""
    max: Annotated[Float, Field(ge=0)] | None = None
    """Highest acceptable value of a loss (log_loss, mae, rmse), in the metric's unit."""
    labels: Labels = Labels()
    """Which labels count."""


class EstimationMethod(StrEnum):
    """How performance is estimated without labels."""

    CBPE = "CBPE"
    DLE = "DLE"


class EstimatedPerformance(Model):
    """Estimates how right the model is before any label has come back."""

    rules = (
        *_BOUND_RULES,
        Rule(
            cel="(self.method == 'DLE') == (self.metric in ['mae', 'rmse'])",
            message="DLE estimates mae and rmse, CBPE the metrics of classifiers: choose a metric of the method",
            holds=lambda self: (
                (self.method is EstimationMethod.DLE)
                == (self.metric in {PerformanceMetric.MAE, PerformanceMetric.RMSE})
            ),
        ),
    )

    method: EstimationMethod
    """CBPE (classifiers: the model's calibrated probabilities) or DLE (regressions: a model of its errors)."""
    metric: PerformanceMetric
    """What is estimated, in scikit-learn's spelling."""
    min: Annotated[Float, Field(ge=-1, le=1)] | None = None
    """Lowest acceptable value of a score, in the metric's unit."""
    max: Annotated[Float, Field(ge=0)] | None = None
    """Highest acceptable value of a loss, in the metric's unit."""
    labels: Labels = Labels()
    """Which labels it may learn from. Those of the reference have no age; if they are fewer than minLabels, the
    revision's first 5000 rows in the log are learnt from once their labels are there."""


class ConceptDetector(StrEnum):
    """Detector of a change in a stream."""

    ADWIN = "ADWIN"


class Concept(Model):
    """Watches the stream of the model's errors for a change, label by label."""

    detector: ConceptDetector = ConceptDetector.ADWIN
    """ADWIN keeps a window that it cuts where the mean error changed."""
    delta: Annotated[Float, Field(gt=0, lt=1)] = 0.002
    """ADWIN's confidence, a fraction between 0 and 1; smaller reacts later and less often by chance."""
    labels: Labels = Labels()
    """Which labels count."""
