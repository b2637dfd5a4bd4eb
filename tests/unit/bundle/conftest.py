"""A small real model, and the bundle saved from it."""

import shutil

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder


def build_rows(n=400, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "when": pd.date_range("2013-01-01", periods=n, freq="h", tz="UTC"),
            "wind": rng.normal(10, 3, n),
            "hour": rng.integers(0, 24, n),
            "carrier": rng.choice(["AA", "DL", "UA"], n),
            "tail": rng.integers(100, 999, n).astype(str),
        }
    )
    labels = (frame.wind + rng.normal(0, 2, n) > 11).astype(int).to_numpy()
    return frame, labels


def build_model(frame, labels, handle_unknown="ignore"):
    preprocess = make_column_transformer(
        (SimpleImputer(), ["wind", "hour"]), (OneHotEncoder(handle_unknown=handle_unknown), ["carrier"])
    )
    return make_pipeline(preprocess, LogisticRegression()).fit(frame[["wind", "hour", "carrier"]], labels)


@pytest.fixture(scope="session")
def rows():
    return build_rows()


@pytest.fixture(scope="session")
def model(rows):
    return build_model(*rows)


@pytest.fixture(scope="session")
def saved(rows, model, tmp_path_factory):
    """A bundle that no test may change."""
    frame, labels = rows
    path = tmp_path_factory.mktemp("bundles") / "flights"
    return perennial_bundle.save(model, frame, path, y=labels, event_time="when", passthrough=["tail"])


@pytest.fixture
def copy(saved, tmp_path):
    """A copy of the bundle's directory, to be spoiled."""
    return shutil.copytree(saved.path, tmp_path / "copy")


@pytest.fixture
def request_columns():
    """Two valid rows, as a request would carry them."""
    return {
        "wind": [9.5, 14.0],
        "hour": [3, 21],
        "carrier": ["AA", "UA"],
        "when": ["2013-02-01T00:00:00Z", "2013-02-01T01:00:00+01:00"],
    }
