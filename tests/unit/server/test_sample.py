import json

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
from perennial_bundle import Column, ModelLoadFailed
from perennial_server.engine.predictor import Predictor
from perennial_server.loading.sample import build_mixed_rows, stand_in
from perennial_server.metrics import Metrics
from perennial_server.rest.front import answer_sample
from perennial_server.runtime import rehearse
from sklearn.linear_model import LogisticRegression

from .conftest import build_settings


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """A bundle whose every reference value says which row it is from."""
    rows = np.arange(100)
    frame = pd.DataFrame({"a": rows * 1.0, "b": rows * 1.0, "ssn": rows.astype(str)})
    labels = (rows > 50).astype(int)
    model = LogisticRegression().fit(frame[["a", "b"]], labels)
    path = tmp_path_factory.mktemp("bundles") / "marked"
    return perennial_bundle.save(model, frame, path, y=labels, passthrough=["ssn"])


def test_a_sample_holds_no_whole_reference_row(marked):
    rows = build_mixed_rows(marked, 10, frozenset())
    assert all(a != b for a, b in zip(rows["a"], rows["b"], strict=True))
    assert set(rows["a"]) <= set(np.arange(100.0))


def test_a_sample_holds_nothing_of_columns_that_never_leave_the_server(marked):
    rows = build_mixed_rows(marked, 10, frozenset({"ssn", "b"}))
    assert "ssn" not in rows
    assert rows["b"] == [0.0] * 10


@pytest.mark.parametrize(
    ("column", "want"),
    [
        ({"datatype": "FP64", "allow_missing": True}, None),
        ({"datatype": "BOOL"}, False),
        ({"datatype": "BYTES"}, "-"),
        ({"datatype": "BYTES", "categories": ("AA", "UA"), "unknown_category": "Reject"}, "AA"),
        ({"datatype": "BYTES", "role": "EventTime"}, "1970-01-01T00:00:00Z"),
        ({"datatype": "INT64", "minimum": 3.0, "maximum": 9.0, "out_of_range": "Reject"}, 3),
        ({"datatype": "FP32", "minimum": 3.0, "maximum": 9.0}, 0.0),
    ],
)
def test_a_stand_in_is_allowed_by_the_schema(column, want):
    got = stand_in(Column(name="x", **column))
    assert got == want
    assert type(got) is type(want)


class Server:
    """A predictor around a bundle, as the start of a server builds it."""

    def __init__(self, bundle, **settings):
        self.bundle = bundle
        self.metrics = Metrics()
        self.predictor = Predictor(bundle, build_settings(**settings), self.metrics, None)

    async def rehearse(self):
        try:
            return await rehearse(self.predictor, self.bundle)
        finally:
            self.predictor.close()


async def test_a_server_hands_out_a_sample_that_it_has_answered(bundle):
    server = Server(bundle)
    sample = json.loads(await server.rehearse())
    assert {tensor["name"] for tensor in sample["inputs"]} == {"alcohol", "acid"}
    assert all(tensor["shape"] == [1] for tensor in sample["inputs"])
    # A rehearsal isn't traffic.
    assert server.metrics.registry.get_sample_value("perennial_server_predictions_total") == 0


class Picky:
    """A bundle whose model fails where `refuses` says so."""

    def __init__(self, bundle, refuses):
        self.schema, self.manifest, self.reference = bundle.schema, bundle.manifest, bundle.reference
        self._bundle, self._refuses = bundle, refuses

    def predict(self, frame):
        if self._refuses(frame):
            raise ValueError("no such wine")
        return self._bundle.predict(frame)


async def test_a_server_that_cannot_answer_its_own_rows_says_why(bundle):
    with pytest.raises(ModelLoadFailed, match=r"own reference rows.*no such wine"):
        await Server(Picky(bundle, lambda frame: True)).rehearse()


async def test_a_model_that_refuses_mixed_rows_is_served_without_a_sample(bundle):
    assert await Server(Picky(bundle, lambda frame: len(frame) == 1)).rehearse() is None


def scope(method="GET", headers=()):
    return {"type": "http", "method": method, "path": "/sample", "headers": list(headers)}


def test_the_sample_is_not_for_those_who_come_through_the_gateway():
    assert answer_sample(scope(), b"{}") == (200, b"{}")
    assert answer_sample(scope(headers=[(b"x-prediction-id", b"p")]), b"{}")[0] == 404
    assert answer_sample(scope("POST"), b"{}")[0] == 405
    assert answer_sample(scope(), None)[0] == 404
