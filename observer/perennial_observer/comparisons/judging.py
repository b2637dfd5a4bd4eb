"""Whether a label proves a prediction wrong. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perennial_api import ModelDeployment
from perennial_api.modeldeployment.monitoring import Performance, PerformanceMetric

from perennial_observer.monitors.labels.labelled import comparable

__all__ = ["LabelRule", "read_rule"]

_REGRESSION = {PerformanceMetric.MAE, PerformanceMetric.RMSE}


@dataclass(frozen=True)
class LabelRule:
    """How labels are judged in one deployment.

    Parameters
    ----------
    maturity_s
        How long after its event a prediction's label is waited for, seconds of event time; None: it counts when it
        comes, and one that never comes is not missed.
    is_regression
        Predictions are numbers, not classes.
    max_error
        Largest absolute error of a right prediction, in the output's unit; None with a regression: nothing can be
        called wrong.
    """

    maturity_s: float | None
    is_regression: bool
    max_error: float | None = None

    def is_wrong(self, label: Any, outputs: Mapping[str, Any]) -> bool | None:
        """Judge one row; None if it can't be judged.

        Examples
        --------
        >>> LabelRule(None, is_regression=False).is_wrong(True, {"predict": 1})
        False
        >>> LabelRule(None, is_regression=True, max_error=0.5).is_wrong(3.0, {"predict": 2.0})
        True
        """
        answer = outputs.get("predict")
        if label is None or answer is None:
            return None
        if not self.is_regression:
            return bool(comparable(label) != comparable(answer))
        if self.max_error is None:
            return None
        try:
            return abs(float(label) - float(answer)) > self.max_error
        except (TypeError, ValueError):
            return None


def find_performance(deployment: ModelDeployment) -> Performance | None:
    """Return the first Performance monitor's settings: it says when labels are ripe and what an error is."""
    found = (monitor.performance for monitor in deployment.spec.monitoring.monitors)
    return next((performance for performance in found if performance is not None), None)


def read_rule(deployment: ModelDeployment, task: str | None) -> LabelRule:
    """Derive the rule from the spec, and from the model's task where the spec doesn't tell.

    Where a Performance monitor and a rollout's Feedback metric say both when labels are in, the longer time holds:
    there is one count of labels for both.

    Parameters
    ----------
    task
        ``Regression``, ``Classification``, or None while no reference has come.
    """
    performance = find_performance(deployment)
    metrics = deployment.spec.rollout.analysis.metrics
    maturities_s = [metric.feedback.maturity.seconds for metric in metrics if metric.feedback is not None]
    if performance is None:
        maturity_s = max(maturities_s, default=None)
        return LabelRule(maturity_s=maturity_s, is_regression=task == "Regression")
    is_regression = performance.metric in _REGRESSION
    return LabelRule(
        maturity_s=max([performance.labels.maturity.seconds, *maturities_s]),
        is_regression=is_regression,
        max_error=performance.max if is_regression else None,
    )
