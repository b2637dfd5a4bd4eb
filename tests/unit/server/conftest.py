"""Parts of a server around a small real bundle, without a network."""

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
from perennial_server.metrics import Metrics
from perennial_server.settings import Settings
from sklearn.linear_model import LogisticRegression


def build_settings(**changes):
    values = {
        "namespace": "shop",
        "deployment": "wine",
        "revision": "wine-1a2b3c4d",
        "bundle_uri": "file:///unused",
    }
    return Settings(**(values | changes))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"alcohol": rng.normal(12, 1, 200), "acid": rng.normal(5, 1, 200)})
    labels = (frame.alcohol > 12).astype(int)
    model = LogisticRegression().fit(frame, labels)
    return perennial_bundle.save(model, frame, tmp_path_factory.mktemp("bundles") / "wine", y=labels)


def rate_acid(rows):
    """Call rows odd whose acid is above 5; the least of raters."""
    acid = rows.columns["acid"] if rows.matrix is None else rows.matrix[:, 1]
    return np.array([float(value) - 5.0 for value in acid])


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def settings():
    return build_settings()
