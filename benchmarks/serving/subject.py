"""What all servers serve: one scikit-learn pipeline, its bundle for ours, its joblib file for the peers, and requests.

The peers' copy is fitted on a plain array, as their users fit it: a pipeline fitted on a DataFrame would warn about
every array that it gets. The data and so the coefficients are the same.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
import perennial_bundle
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = 10
TRAINING_ROWS = 5000
DIFFERENT_REQUESTS = 64
MODELS: dict[str, tuple[str, Callable[[], Any]]] = {
    "linear": ("StandardScaler + LogisticRegression", LogisticRegression),
    "trees": (
        "StandardScaler + HistGradientBoostingClassifier of 100 trees",
        lambda: HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=0),
    ),
}


@dataclass(frozen=True)
class Subject:
    """The model on disk, and rows to ask it with what it answers.

    Parameters
    ----------
    title
        What it is.
    bundle, joblib
        Ours (a directory), the peers' (a file).
    rows, predict, probability
        float64 array (n, FEATURES), and what the model says: int64 array (n,), float64 array (n,).
    """

    title: str
    bundle: Path
    joblib: Path
    rows: npt.NDArray[np.float64]
    predict: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float64]

    def blocks(self, n_rows: int) -> list[slice]:
        """Return which rows each of the different requests of `n_rows` rows holds."""
        return [slice(i * n_rows, (i + 1) * n_rows) for i in range(DIFFERENT_REQUESTS)]


def build_subject(kind: str, directory: Path, most_rows: int) -> Subject:
    """Train the model, save it in both forms, and draw rows for requests of at most `most_rows` rows."""
    rng = np.random.default_rng(5)
    title, build = MODELS[kind]
    data = rng.normal(size=(TRAINING_ROWS, FEATURES))
    labels = (data @ np.linspace(-1, 1, FEATURES) + rng.normal(size=TRAINING_ROWS) > 0).astype(int)
    frame = pd.DataFrame(data, columns=[f"x{i}" for i in range(FEATURES)])
    bundle, file = directory / "bundle", directory / "model.joblib"
    with warnings.catch_warnings(action="ignore"):
        perennial_bundle.save(
            make_pipeline(StandardScaler(), build()).fit(frame, labels), frame, bundle, y=labels
        )
    model = make_pipeline(StandardScaler(), build()).fit(data, labels)
    joblib.dump(model, file)
    # Six digits, as people send them; all are within what the model has seen.
    rows = np.round(data[rng.integers(0, TRAINING_ROWS, most_rows * DIFFERENT_REQUESTS)], 6)
    rows = np.clip(rows, data.min(axis=0), data.max(axis=0))
    return Subject(title, bundle, file, rows, model.predict(rows), model.predict_proba(rows)[:, 1])


def v2_body(rows: npt.NDArray[np.float64], **more: Any) -> bytes:
    """Write rows as a v2 inference request: one tensor of all features."""
    tensor = {"name": "input-0", "datatype": "FP64", "shape": list(rows.shape), "data": rows.ravel().tolist()}
    return json.dumps({"inputs": [tensor], **more}).encode()


def read_v2(answer: bytes) -> tuple[list[int], list[float]]:
    """Return predictions and probabilities of the second class from a v2 answer."""
    outputs = {output["name"]: output["data"] for output in json.loads(answer)["outputs"]}
    predict = outputs["predict"]
    probability = outputs.get("probability") or outputs["predict_proba"]
    return predict, probability if len(probability) == len(predict) else probability[1::2]
