"""What each feature gives and what it costs: which could go."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from perennial_bundle.bundle import Bundle
from perennial_bundle.errors import InvalidBundle
from perennial_bundle.explaining.explainer import build_explainer
from perennial_bundle.explaining.result import Method

MAX_ROWS = 200
# Of 2,000 rows, ten more wrong answers are half a percent: fewer rows would show little but chance.
MAX_LOSS_ROWS = 2000
EXPLAINED_AT_ONCE = 8
COSTS = "feature_costs"


@dataclass(frozen=True)
class FeatureReport:
    """One feature.

    Parameters
    ----------
    contribution
        Mean of the absolute contributions over reference rows, in the unit of what is explained.
    share_percent
        Of all features' contributions.
    loss
        How much worse the answers to reference rows get when this feature's values are shuffled between them: in the
        share of wrong classes, or in mean absolute error. None where the reference has no labels.
    cost
        As the author declares it in the manifest's ``metadata.feature_costs``, in any unit; None if not declared.
    share_per_cost
        `share_percent` for one unit of `cost`.
    """

    name: str
    contribution: float
    share_percent: float
    loss: float | None
    cost: float | None
    share_per_cost: float | None


@dataclass(frozen=True)
class Report:
    """All features, those that contribute least for their cost last; those without a cost by their share.

    Parameters
    ----------
    rows
        How many reference rows were explained.
    """

    name: str
    digest: str
    method: Method
    explained: str
    rows: int
    features: tuple[FeatureReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)


def build_report(bundle: Bundle) -> Report:
    """Explain reference rows and weigh each feature against its declared cost; loads the model.

    Raises
    ------
    BundleError
        The model can't be loaded, or the declared costs aren't numbers of its features.
    """
    costs = read_costs(bundle)
    reference = bundle.reference()
    frame = reference.inputs.iloc[_spread(len(reference.inputs), MAX_ROWS)].reset_index(drop=True)
    explainer = build_explainer(bundle)
    parts = [
        explainer.explain(frame.iloc[start : start + EXPLAINED_AT_ONCE])
        for start in range(0, len(frame), EXPLAINED_AT_ONCE)
    ]
    means = np.abs(np.concatenate([part.contributions for part in parts])).mean(axis=0)
    losses = {} if reference.labels is None else _measure_losses(bundle, reference.inputs, reference.labels)
    total = float(means.sum()) or 1.0
    features = []
    for name, mean in zip(bundle.schema.feature_names, means.tolist(), strict=True):
        share, cost = 100 * mean / total, costs.get(name)
        features.append(
            FeatureReport(
                name=name,
                contribution=mean,
                share_percent=share,
                loss=losses.get(name),
                cost=cost,
                share_per_cost=None if not cost else share / cost,
            )
        )
    features.sort(
        key=lambda f: (f.share_per_cost if f.share_per_cost is not None else math.inf, f.share_percent)
    )
    return Report(
        name=bundle.manifest.name,
        digest=bundle.digest,
        method=parts[0].method,
        explained=parts[0].explained,
        rows=len(frame),
        features=tuple(reversed(features)),
    )


def read_costs(bundle: Bundle) -> Mapping[str, float]:
    """Read the costs that the author declares.

    Raises
    ------
    InvalidBundle
        They aren't numbers of 0 or more, by names of features.
    """
    costs = bundle.manifest.metadata.get(COSTS, {})
    if not isinstance(costs, dict):
        raise InvalidBundle(f"metadata.{COSTS} has to be a number for each feature, by its name")
    for name, cost in costs.items():
        if name not in bundle.schema.feature_names:
            raise InvalidBundle(f"metadata.{COSTS} names {name!r}, which isn't a feature")
        if isinstance(cost, bool) or not isinstance(cost, int | float) or cost < 0:
            raise InvalidBundle(f"metadata.{COSTS}.{name} has to be a number of 0 or more")
    return costs


def _spread(n_rows: int, most: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, most)).astype(np.int64))


def _measure_losses(bundle: Bundle, inputs: pd.DataFrame, labels: npt.NDArray[Any]) -> dict[str, float]:
    chosen = _spread(len(inputs), MAX_LOSS_ROWS)
    frame, labels = inputs.iloc[chosen].reset_index(drop=True), labels[chosen]
    order = np.random.default_rng(0).permutation(len(frame))
    usual = _error(bundle, frame, labels)
    losses = {}
    for name in bundle.schema.feature_names:
        shuffled = frame.assign(**{name: frame[name].take(order).reset_index(drop=True)})
        losses[name] = _error(bundle, shuffled, labels) - usual
    return losses


def _error(bundle: Bundle, frame: pd.DataFrame, labels: npt.NDArray[Any]) -> float:
    predicted = bundle.predict(frame)["predict"]
    if bundle.manifest.task == "Classification":
        return float(np.mean(predicted.astype(object) != labels.astype(object)))
    return float(np.mean(np.abs(predicted - labels.astype(np.float64))))


def render_report(report: Report) -> str:
    """Write the report as a table."""
    lines = [
        f"{report.name} {report.digest}",
        f"contributions to {report.explained} in {report.rows} reference rows, by {report.method}",
        f"{'feature':<24} {'contribution':>12} {'share':>7} {'loss':>8} {'cost':>9} {'share/cost':>10}",
    ]
    for feature in report.features:
        cells = (feature.loss, feature.cost, feature.share_per_cost)
        loss, cost, per_cost = ("-" if cell is None else f"{cell:.4g}" for cell in cells)
        lines.append(
            f"{feature.name:<24.24} {feature.contribution:>12.4g} {feature.share_percent:>6.1f}% "
            f"{loss:>8} {cost:>9} {per_cost:>10}"
        )
    return "\n".join(lines)
