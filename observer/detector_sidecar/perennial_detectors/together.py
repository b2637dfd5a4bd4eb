"""Statistics of all columns together: a classifier between window and reference, and how sure the model is."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["compare_by_classifier", "compare_uncertainty"]

Floats = npt.NDArray[np.float64]

FOLDS = 5
# The classifier learns as much from this many rows, evenly spread, as its statistic needs.
MOST_REFERENCE_ROWS = 2_000


def compare_by_classifier(classes: Mapping[str, Any], reference: Floats, window: Floats, seed: int) -> float:
    """How well a logistic regression tells the two apart, out of its folds: KS distance of its probabilities, 0 to 1.

    Parameters
    ----------
    reference, window
        float64 (m, d) and (n, d), finite. Fewer rows than folds can't be told from others: NaN.
    """
    if min(len(reference), len(window)) < FOLDS:
        return math.nan
    model = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=200, random_state=seed)
    )
    chosen = np.unique(
        np.linspace(0, len(reference) - 1, min(len(reference), MOST_REFERENCE_ROWS)).astype(int)
    )
    # Folds are drawn by place, so the window's order must not matter.
    window = window[np.lexsort(window.T)]
    detector = classes["ClassifierDrift"](
        reference[chosen],
        model,
        backend="sklearn",
        preds_type="probs",
        binarize_preds=False,
        train_size=None,
        n_folds=FOLDS,
        seed=seed,
    )
    found = detector.predict(window, return_p_val=False, return_distance=True)
    return float(found["data"]["distance"])


def compare_uncertainty(classes: Mapping[str, Any], reference: Floats, window: Floats) -> float:
    """KS distance of the entropies of predicted probabilities, 0 to 1.

    Parameters
    ----------
    reference, window
        float64 (m, classes) and (n, classes), rows that sum to 1.
    """
    detector = classes["ClassifierUncertaintyDrift"](
        reference, lambda probabilities: probabilities, backend=None, preds_type="probs"
    )
    found = detector.predict(window, return_p_val=False, return_distance=True)
    return float(np.ravel(found["data"]["distance"])[0])
