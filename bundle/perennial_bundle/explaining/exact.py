"""Exact contributions, where the model's own shape gives them: linear models, and trees by shap."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from perennial_bundle.explaining.result import Explained, Explanation, Method, choose
from perennial_bundle.explaining.sources import find_sources

_LINEAR = frozenset(
    {
        "ARDRegression",
        "BayesianRidge",
        "ElasticNet",
        "ElasticNetCV",
        "HuberRegressor",
        "Lasso",
        "LassoCV",
        "LinearRegression",
        "LogisticRegression",
        "LogisticRegressionCV",
        "Ridge",
        "RidgeCV",
        "RidgeClassifier",
        "RidgeClassifierCV",
        "SGDClassifier",
        "SGDRegressor",
    }
)
# What the trees of each add up to.
_TREES: dict[str, Explained] = {
    "DecisionTreeClassifier": "probability",
    "DecisionTreeRegressor": "predict",
    "ExtraTreesClassifier": "probability",
    "ExtraTreesRegressor": "predict",
    "GradientBoostingClassifier": "margin",
    "GradientBoostingRegressor": "predict",
    "HistGradientBoostingClassifier": "margin",
    "HistGradientBoostingRegressor": "predict",
    "RandomForestClassifier": "probability",
    "RandomForestRegressor": "predict",
}
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class _Chain:
    """A model as preprocessing, whose columns' sources are known, and its last step."""

    before: Any | None
    last: Any
    sources: npt.NDArray[np.int64]
    n_features: int

    def transform(self, features: pd.DataFrame) -> Any:
        if self.before is None:
            return features
        found = self.before.transform(features)
        return found.toarray() if hasattr(found, "toarray") else found

    def gather(self, contributions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Add up the contributions of the columns that come from one feature: (n, m, k) to (n, n_features, k)."""
        gathered = np.zeros((contributions.shape[0], self.n_features, contributions.shape[2]))
        for column, source in enumerate(self.sources):
            gathered[:, source] += contributions[:, column]
        return gathered


@dataclass(frozen=True)
class _Parts:
    """Contributions (n, m, k) of the columns behind the preprocessing, and the base values (k,)."""

    contributions: npt.NDArray[np.float64]
    base: npt.NDArray[np.float64]
    method: Method
    explained: Explained


class LinearExplainer:
    """Contributions ``coefficient * (x - mean)``, which for a linear model are Shapley's, features independent.

    Those of columns that come from one feature are added up: for a linear model that is exact, too.
    """

    def __init__(self, chain: _Chain, background: pd.DataFrame, classes: Sequence[Any] | None) -> None:
        self._chain = chain
        self._classes = classes
        self._coefficients = np.atleast_2d(np.asarray(chain.last.coef_, dtype=np.float64))
        self._mean = np.asarray(chain.transform(background), dtype=np.float64).mean(axis=0)
        self._base = self._coefficients @ self._mean + np.ravel(chain.last.intercept_)

    def explain(self, frame: pd.DataFrame, *, deadline_s: float | None = None) -> Explanation | None:  # noqa: ARG002
        """Explain rows; None if they don't add up to the model's answer."""
        matrix = np.asarray(self._chain.transform(frame), dtype=np.float64)
        parts = (matrix - self._mean)[:, :, np.newaxis] * self._coefficients.T[np.newaxis]
        explained: Explained = "predict" if self._classes is None else "margin"
        return _conclude(self._chain, frame, _Parts(parts, self._base, "Linear", explained), self._classes)


class TreeExplainer:
    """shap's exact contributions of trees, from the rows that each node saw in the training."""

    def __init__(self, chain: _Chain, classes: Sequence[Any] | None) -> None:
        import shap

        self._chain = chain
        self._classes = classes
        self._explained = _TREES[type(chain.last).__name__]
        self._shap = shap.TreeExplainer(chain.last, feature_perturbation="tree_path_dependent")

    def explain(self, frame: pd.DataFrame, *, deadline_s: float | None = None) -> Explanation | None:  # noqa: ARG002
        """Explain rows; None if they don't add up to the model's answer."""
        matrix = np.asarray(self._chain.transform(frame), dtype=np.float64)
        parts = np.asarray(self._shap.shap_values(matrix, check_additivity=False), dtype=np.float64)
        parts = parts if parts.ndim == 3 else parts[:, :, np.newaxis]  # noqa: PLR2004
        base = np.ravel(self._shap.expected_value)
        if parts.shape[2] == 2:  # noqa: PLR2004  the second class says all
            parts, base = parts[:, :, 1:], base[1:]
        return _conclude(self._chain, frame, _Parts(parts, base, "Tree", self._explained), self._classes)


def build_exact(
    model: Any, background: pd.DataFrame, classes: Sequence[Any] | None
) -> LinearExplainer | TreeExplainer | None:
    """Build the exact explainer of a scikit-learn model; None if it has none.

    Parameters
    ----------
    background
        Features of typical rows.
    """
    from sklearn.pipeline import Pipeline

    before, last = (
        (model[:-1], model[-1]) if isinstance(model, Pipeline) and len(model) > 1 else (None, model)
    )
    kind = type(last).__name__ if type(last).__module__.startswith("sklearn.") else ""
    if kind not in _LINEAR and kind not in _TREES:
        return None
    n_features = background.shape[1]
    sources = find_sources(before, n_features)
    if sources is None or (kind in _TREES and len(set(sources)) != len(sources)):
        return None
    chain = _Chain(before, last, np.asarray(sources, dtype=np.int64), n_features)
    return LinearExplainer(chain, background, classes) if kind in _LINEAR else TreeExplainer(chain, classes)


def _conclude(
    chain: _Chain, features: pd.DataFrame, parts: _Parts, classes: Sequence[Any] | None
) -> Explanation | None:
    values = _answer(chain, features, parts.explained)
    gathered = chain.gather(parts.contributions)
    added = parts.base + gathered.sum(axis=1)
    if added.shape != values.shape or not np.allclose(added, values, rtol=_TOLERANCE, atol=_TOLERANCE):
        return None
    base = np.broadcast_to(parts.base, values.shape)
    return choose(gathered, base, values, classes=classes, method=parts.method, explained=parts.explained)


def _answer(chain: _Chain, features: pd.DataFrame, explained: Explained) -> npt.NDArray[np.float64]:
    """Return what the parts have to add up to: (n, k)."""
    matrix = chain.transform(features)
    if explained == "probability":
        found = np.asarray(chain.last.predict_proba(matrix), dtype=np.float64)
        return found[:, 1:] if found.shape[1] == 2 else found  # noqa: PLR2004
    answer = chain.last.decision_function if explained == "margin" else chain.last.predict
    found = np.asarray(answer(matrix), dtype=np.float64)
    return found.reshape(len(features), -1)
