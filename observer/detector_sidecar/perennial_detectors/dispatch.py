"""From one decoded request to one answer: checks shapes, calls the engine."""

from typing import Any

import numpy as np
import numpy.typing as npt

from perennial_detectors.columns import TESTS
from perennial_detectors.engine import Engine
from perennial_detectors.errors import InvalidRequest
from perennial_detectors.protocol import Arrays

__all__ = ["answer_request"]

MAX_FEATURES = 2_000
MAX_ESTIMATORS = 1_000
MAX_KEY_CHARACTERS = 200


def answer_request(engine: Engine, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    """Run the operation that ``request["op"]`` names.

    Returns
    -------
    tuple
        The JSON part and the arrays of the answer.

    Raises
    ------
    DetectorsError
        With the reason that the caller is told.
    """
    match request.get("op"):
        case "version":
            return {"alibi_detect": engine.version}, {}
        case "columns":
            return _answer_columns(engine, request, arrays)
        case "classifier":
            reference, window = _pair(arrays)
            return {}, _scalar(engine.compare_by_classifier(reference, window, seed=_seed(request)))
        case "uncertainty":
            return {}, _scalar(engine.compare_uncertainty(*_pair(arrays)))
        case "isolation_forest":
            return _answer_isolation_forest(engine, request, arrays)
        case other:
            raise InvalidRequest(
                f"there is no operation {other!r}: use columns, classifier, uncertainty, isolation_forest or version"
            )


def _answer_columns(engine: Engine, request: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
    test = request.get("test")
    if test not in TESTS:
        raise InvalidRequest(f"there is no test {test!r}: use one of {sorted(TESTS)}")
    reference, window = _pair(arrays)
    is_category = arrays.get("is_category", np.zeros(reference.shape[1], dtype=np.bool_))
    if is_category.dtype != np.bool_ or is_category.shape != (reference.shape[1],):
        raise InvalidRequest("is_category must hold one boolean for each column", "ShapeMismatch")
    ends = arrays.get("window_ends", np.array([len(window)]))
    if ends.ndim != 1 or not np.issubdtype(ends.dtype, np.integer):
        raise InvalidRequest("window_ends must be integers in one dimension", "ShapeMismatch")
    starts = np.concatenate([[0], ends[:-1]])
    if len(ends) == 0 or (ends <= starts).any() or ends[-1] != len(window):
        raise InvalidRequest("window_ends must rise and end with the number of rows", "ShapeMismatch")
    windows = [window[start:end] for start, end in zip(starts, ends, strict=True)]
    return {}, {"statistic": engine.compare_columns(test, reference, windows, is_category)}


def _answer_isolation_forest(
    engine: Engine, request: dict[str, Any], arrays: Arrays
) -> tuple[dict[str, Any], Arrays]:
    window = _matrix(arrays, "window")
    reference = _matrix(arrays, "reference") if "reference" in arrays else None
    if reference is not None:
        _require_same_width(reference, window)
    key, n_estimators = request.get("key"), request.get("n_estimators", 100)
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_CHARACTERS:
        raise InvalidRequest("key must be a string that names the reference")
    if not isinstance(n_estimators, int) or not 0 < n_estimators <= MAX_ESTIMATORS:
        raise InvalidRequest(f"n_estimators must be between 1 and {MAX_ESTIMATORS}")
    score = engine.isolation_forest(key, reference, window, seed=_seed(request), n_estimators=n_estimators)
    return {}, {"score": score}


def _seed(request: dict[str, Any]) -> int:
    seed = request.get("seed", 0)
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InvalidRequest("seed must be an integer of 32 bits")
    return seed


def _scalar(statistic: float) -> Arrays:
    return {"statistic": np.array(statistic)}


def _pair(arrays: Arrays) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    reference, window = _matrix(arrays, "reference"), _matrix(arrays, "window")
    _require_same_width(reference, window)
    return reference, window


def _matrix(arrays: Arrays, name: str) -> npt.NDArray[np.float64]:
    array = arrays.get(name)
    if array is None or array.ndim != 2 or array.dtype.kind not in "fiub":  # noqa: PLR2004
        raise InvalidRequest(f"{name} must be numbers of shape (rows, features)", "ShapeMismatch")
    if 0 in array.shape or array.shape[1] > MAX_FEATURES:
        raise InvalidRequest(
            f"{name} of shape {array.shape} needs at least one row and 1 to {MAX_FEATURES} features",
            "ShapeMismatch",
        )
    return array.astype(np.float64)


def _require_same_width(reference: npt.NDArray[np.float64], window: npt.NDArray[np.float64]) -> None:
    if reference.shape[1] != window.shape[1]:
        raise InvalidRequest(
            f"reference has {reference.shape[1]} features, window {window.shape[1]}: send the same columns",
            "ShapeMismatch",
        )
