"""From which column of the input each column behind a model's preprocessing comes."""

from collections.abc import Callable
from typing import Any

import numpy as np


def find_sources(step: Any, n_columns: int) -> list[int] | None:
    """Return the input column of each column that a fitted transformer gives; None where that isn't known.

    Examples
    --------
    >>> find_sources("passthrough", 2)
    [0, 1]
    """
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return list(range(n_columns))
    if isinstance(step, str):
        return [] if step == "drop" else None
    kind = type(step).__name__ if type(step).__module__.startswith("sklearn.") else ""
    find = _FINDERS.get(kind)
    return None if find is None else find(step, n_columns)


def _of_itself(_: Any, n_columns: int) -> list[int]:
    return list(range(n_columns))


def _of_imputer(step: Any, n_columns: int) -> list[int] | None:
    # A column without a single value is left out, and missing values may become columns of their own.
    if step.add_indicator or len(step.get_feature_names_out()) != n_columns:
        return None
    return list(range(n_columns))


def _of_function(step: Any, n_columns: int) -> list[int] | None:
    # A fitted ColumnTransformer writes passthrough in this way.
    return list(range(n_columns)) if step.func is None else None


def _of_one_hot(step: Any, _: int) -> list[int] | None:
    if step.drop is not None or step.min_frequency is not None or step.max_categories is not None:
        return None
    return [index for index, categories in enumerate(step.categories_) for _ in categories]


def _of_pipeline(pipeline: Any, n_columns: int) -> list[int] | None:
    sources = list(range(n_columns))
    for _name, step in pipeline.steps:
        found = find_sources(step, len(sources))
        if found is None:
            return None
        sources = [sources[index] for index in found]
    return sources


def _of_columns(transformer: Any, _: int) -> list[int] | None:
    names = getattr(transformer, "feature_names_in_", None)
    sources: list[int] = []
    for _name, step, columns in transformer.transformers_:
        if isinstance(step, str) and step == "drop":
            continue
        positions = _find_positions(columns, names, transformer.n_features_in_)
        found = None if positions is None else find_sources(step, len(positions))
        if positions is None or found is None:
            return None
        sources.extend(positions[index] for index in found)
    return sources


def _find_positions(columns: Any, names: Any, n_columns: int) -> list[int] | None:
    if isinstance(columns, slice):
        return list(range(n_columns))[columns] if not isinstance(columns.start or columns.stop, str) else None
    picked = np.asarray(columns)
    if picked.dtype == bool:
        return np.flatnonzero(picked).tolist()
    if picked.ndim != 1:
        return None
    if picked.dtype.kind in "iu":
        return [int(index) % n_columns for index in picked]
    where = {} if names is None else {str(name): index for index, name in enumerate(names)}
    positions = [where.get(str(name)) for name in picked.tolist()]
    return None if None in positions else [p for p in positions if p is not None]


_FINDERS: dict[str, Callable[[Any, int], list[int] | None]] = {
    # These give each column that they take, changed, and no other.
    "MaxAbsScaler": _of_itself,
    "MinMaxScaler": _of_itself,
    "OrdinalEncoder": _of_itself,
    "PowerTransformer": _of_itself,
    "QuantileTransformer": _of_itself,
    "RobustScaler": _of_itself,
    "StandardScaler": _of_itself,
    "ColumnTransformer": _of_columns,
    "FunctionTransformer": _of_function,
    "OneHotEncoder": _of_one_hot,
    "Pipeline": _of_pipeline,
    "SimpleImputer": _of_imputer,
}
