"""A shorter road into a scikit-learn model: the same answers, without a frame's price.

A model that was fitted on a frame compares column names at each step, which takes a small model several times longer than
predicting; and a pipeline that is asked for classes and for probabilities transforms its rows twice. Where all features
are numbers, and the model says the same of an array as of a frame, it gets an array, and its steps but the last run once.
"""

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from perennial_bundle.manifest import Task
from perennial_bundle.policies import NUMERIC
from perennial_bundle.schema import Schema
from perennial_bundle.scoring import Outputs, score, score_features, select_features

SAMPLE_ROWS = 64
NAMES = "feature_names_in_"


@dataclass(frozen=True)
class Shortcut:
    """The road itself.

    Parameters
    ----------
    first
        A pipeline's steps but the last; None where there is one step.
    last
        What predicts.
    """

    first: Any | None
    last: Any
    schema: Schema
    task: Task

    def predict(self, frame: pd.DataFrame) -> Outputs:
        """Predict; see `scoring.score` for shapes and dtypes."""
        features = select_features(self.schema, frame).to_numpy()
        if self.first is not None:
            features = self.first.transform(features)
        return score_features(self.last, self.schema, self.task, features)


def find_shortcut(model: Any, schema: Schema, task: Task, frame: pd.DataFrame) -> Shortcut | None:
    """Return the shorter road if there is one that leads to the same.

    Parameters
    ----------
    frame
        Some rows of the reference: on these, both roads are tried.
    """
    if not all(column.datatype in NUMERIC for column in schema.features):
        return None
    nameless = without_names(model)
    first, last = None, nameless
    if type(nameless) is Pipeline and len(nameless.steps) > 1:
        first, last = nameless[:-1], nameless[-1]
    shortcut = Shortcut(first, last, schema, task)
    rows = frame.iloc[:SAMPLE_ROWS]
    try:
        with warnings.catch_warnings(action="error"):
            tried = [(score(model, schema, task, part), shortcut.predict(part)) for part in (rows, rows[:1])]
    except Exception:  # noqa: BLE001  whatever a model raises for an array means that it wants its frame
        return None
    return shortcut if all(_are_same(want, got) for want, got in tried) else None


def without_names(model: Any) -> Any:
    """Copy an estimator that has forgotten the names of its features; arrays are shared with the original."""
    return _forget(model, {})


def _forget(part: Any, known: dict[int, Any]) -> Any:
    if id(part) in known:
        return known[id(part)]
    if isinstance(part, BaseEstimator):
        known[id(part)] = bare = copy.copy(part)
        for name, value in list(vars(bare).items()):
            if name == NAMES:
                delattr(bare, name)
            else:
                setattr(bare, name, _forget(value, known))
        return bare
    if type(part) in {list, tuple}:
        return type(part)(_forget(item, known) for item in part)
    if type(part) is dict:
        return {name: _forget(item, known) for name, item in part.items()}
    return part


def _are_same(want: Outputs, got: Outputs) -> bool:
    """Compare as closely as two orders of adding the same numbers allow."""
    for name, values in want.items():
        if values.dtype != got[name].dtype or values.shape != got[name].shape:
            return False
        if values.dtype.kind == "f":
            same = np.allclose(values, got[name], rtol=1e-9, atol=1e-12, equal_nan=True)
        else:
            same = bool((values == got[name]).all())
        if not same:
            return False
    return True
