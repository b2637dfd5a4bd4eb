"""Small real bundles: a classifier on two numbers whose world can be made to drift."""

from pathlib import Path

import numpy as np
import pandas as pd
import perennial_bundle
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

START_S = 1_700_000_000.0
SECONDS_PER_ROW = 30.0


def make_rows(
    n: int, *, first: int = 0, shift: float = 0.0, flip: bool = False, seed: int = 0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return rows in time order with their labels.

    Parameters
    ----------
    first
        Index of the first row; its time follows from it.
    shift
        Added to `a`: covariate drift.
    flip
        The label follows `b` rather than `a`: the concept changed.

    Returns
    -------
    tuple
        Frame with `a`, `b` (float64) and `time` (seconds since 1970), and int64 labels (n,).
    """
    rng = np.random.default_rng([seed, first + 1_000_000])
    a, b = rng.normal(size=n) + shift, rng.normal(size=n)
    decides = b if flip else a - shift
    labels = (decides + 0.3 * rng.normal(size=n) > 0).astype(np.int64)
    time = START_S + SECONDS_PER_ROW * np.arange(first, first + n)
    return pd.DataFrame({"a": a, "b": b, "time": time}), labels


def save_classifier(path: Path, *, seed: int = 0, rows: int = 5000) -> perennial_bundle.Bundle:
    """Write a bundle of a classifier fitted on the world before any drift."""
    frame, labels = make_rows(rows, first=-rows, seed=seed)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame[["a", "b"]], labels)
    return perennial_bundle.save(model, frame, path, y=labels, event_time="time", name="world")


def request_body(frame: pd.DataFrame) -> dict[str, object]:
    """Return the rows as an Open Inference Protocol request."""
    return {
        "inputs": [
            {"name": name, "datatype": "FP64", "shape": [len(frame)], "data": frame[name].tolist()}
            for name in ("a", "b", "time")
        ]
    }
