"""Vanilla BentoML: adaptive batching on, everything else as it ships."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1)
class Model:
    """Answers (n, 2): the class and the second class's probability of each row."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api(batchable=True)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.column_stack([self.model.predict(rows), self.model.predict_proba(rows)[:, 1]])
