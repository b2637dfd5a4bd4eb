"""Champion against challenger on the same rows, newer than both were trained on.

The rule: the challenger is accepted when it scores no worse than the champion, that is, when the difference of the
metric on the test slice, oriented so that positive is better, is at least 0. The test decides whether a candidate is
worth a canary, not whether it is served: demanding proof of a gain would refuse most honest refits of a model that
has only begun to decay, and the canary's gates still stand before it. How sure the difference is gets reported beside
it, as the lower end of a one-sided 95 % confidence interval.

That interval comes from a paired block bootstrap: whole blocks of time are drawn with replacement, and both models are
scored on the same draw. Rows of one day share their weather and their incidents, so drawing single rows would make
the interval too narrow (Künsch, *The Jackknife and the Bootstrap for General Stationary Observations*, Annals of
Statistics 17, 1989). A block is a day, or a tenth of the slice where that is shorter.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn import metrics

DAY_S = 86_400.0
MIN_BLOCKS = 10
RESAMPLES = 400
LOWER_QUANTILE = 0.05

Array = npt.NDArray[np.float64]
Score = Callable[[npt.NDArray[np.generic], npt.NDArray[np.generic], Array | None], float]


@dataclass(frozen=True)
class Metric:
    """How a metric is computed.

    Attributes
    ----------
    needs : str
        ``Probability`` (of the positive class for two classes, else of every class) or ``Prediction``.
    task : str
        ``Classification`` or ``Regression``.
    greater_is_better : bool
        Orientation of the score.
    score : callable
        ``(y_true, y_output, sample_weight or None) -> float``.
    """

    needs: str
    task: str
    greater_is_better: bool
    score: Score


def _roc_auc(y: npt.NDArray[np.generic], out: npt.NDArray[np.generic], weight: Array | None) -> float:
    several = "ovr" if out.ndim > 1 else "raise"
    return float(metrics.roc_auc_score(y, out, sample_weight=weight, multi_class=several))


def _f1(y: npt.NDArray[np.generic], out: npt.NDArray[np.generic], weight: Array | None) -> float:
    average = "binary" if np.union1d(y, out).size <= 2 else "macro"  # noqa: PLR2004
    return float(metrics.f1_score(y, out, sample_weight=weight, average=average))


def _plain(function: Callable[..., float]) -> Score:
    def score(y: npt.NDArray[np.generic], out: npt.NDArray[np.generic], weight: Array | None) -> float:
        return float(function(y, out, sample_weight=weight))

    return score


METRICS: dict[str, Metric] = {
    "roc_auc": Metric("Probability", "Classification", True, _roc_auc),
    "accuracy": Metric("Prediction", "Classification", True, _plain(metrics.accuracy_score)),
    "balanced_accuracy": Metric(
        "Prediction", "Classification", True, _plain(metrics.balanced_accuracy_score)
    ),
    "f1": Metric("Prediction", "Classification", True, _f1),
    "log_loss": Metric("Probability", "Classification", False, _plain(metrics.log_loss)),
    "mae": Metric("Prediction", "Regression", False, _plain(metrics.mean_absolute_error)),
    "rmse": Metric("Prediction", "Regression", False, _plain(metrics.root_mean_squared_error)),
    "r2": Metric("Prediction", "Regression", True, _plain(metrics.r2_score)),
}


@dataclass(frozen=True)
class Comparison:
    """Both models' scores on the test slice.

    Attributes
    ----------
    champion_score, challenger_score : float
        In the metric's own orientation.
    difference : float
        Challenger minus champion, oriented so that positive is better.
    difference_lower : float or None
        Lower end of the one-sided 95 % interval of ``difference``; None where no resample could be scored.
    """

    champion_score: float
    challenger_score: float
    difference: float
    difference_lower: float | None

    @property
    def accepted(self) -> bool:
        """Whether the challenger scores no worse."""
        return self.difference >= 0


def compare(
    metric: Metric,
    y: npt.NDArray[np.generic],
    *,
    champion_output: npt.NDArray[np.generic],
    challenger_output: npt.NDArray[np.generic],
    event_time: Array,
    rng: np.random.Generator,
) -> Comparison:
    """Score both models on the same rows and bound the difference.

    Parameters
    ----------
    metric : Metric
        One of `METRICS`.
    y : array (n,)
        True labels; for classification the class's index, so that class 1 of two is the positive one.
    champion_output, challenger_output : array (n,) or (n, n_classes)
        What ``metric.needs`` says, row by row.
    event_time : float64 array (n,)
        Epoch seconds.
    rng : numpy Generator
        Draws the blocks.
    """
    sign = 1.0 if metric.greater_is_better else -1.0
    champion = metric.score(y, champion_output, None)
    challenger = metric.score(y, challenger_output, None)
    blocks = time_blocks(event_time)
    n_blocks = int(blocks.max()) + 1
    n_classes = np.unique(y).size
    differences = []
    for _ in range(RESAMPLES):
        times_drawn = np.bincount(rng.integers(n_blocks, size=n_blocks), minlength=n_blocks)
        weight = times_drawn[blocks].astype(np.float64)
        drawn = weight > 0
        # A draw without one of the classes has no score under some metrics, and says nothing about the difference.
        if metric.task == "Classification" and np.unique(y[drawn]).size < n_classes:
            continue
        differences.append(
            sign
            * (
                metric.score(y[drawn], challenger_output[drawn], weight[drawn])
                - metric.score(y[drawn], champion_output[drawn], weight[drawn])
            )
        )
    lower = float(np.quantile(differences, LOWER_QUANTILE)) if differences else None
    return Comparison(champion, challenger, sign * (challenger - champion), lower)


def time_blocks(event_time: Array) -> npt.NDArray[np.intp]:
    """Number each row's block of time, from 0 without holes: a day, or a tenth of the span if that is shorter.

    Parameters
    ----------
    event_time : float64 array (n,)
        Epoch seconds, n >= 1.

    Returns
    -------
    int array (n,)
        Blocks in time order.
    """
    span_s = float(np.ptp(event_time))
    length_s = min(DAY_S, span_s / MIN_BLOCKS) or DAY_S
    raw = np.floor((event_time - event_time.min()) / length_s)
    return np.unique(raw, return_inverse=True)[1].astype(np.intp)
