"""FastAPI as its users write it: a pydantic body, a plain function, the model's calls in it."""

import os

import joblib
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(os.environ["BENCH_MODEL"])


class Query(BaseModel):
    """Rows of features."""

    rows: list[list[float]]


class Answer(BaseModel):
    """The class and the second class's probability of each row."""

    predict: list[int]
    probability: list[float]


@app.post("/predict")
def predict(query: Query) -> Answer:
    return Answer(
        predict=model.predict(query.rows).tolist(),
        probability=model.predict_proba(query.rows)[:, 1].tolist(),
    )
