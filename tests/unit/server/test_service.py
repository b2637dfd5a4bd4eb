"""The API of BentoML beside the v2 protocol."""

from types import SimpleNamespace

import pytest
from bentoml.exceptions import InvalidArgument
from perennial_server.engine.predictor import Predictor
from perennial_server.service import predict_columns

from .conftest import build_settings, rate_acid


@pytest.fixture
def predictor(bundle, metrics):
    predictor = Predictor(bundle, build_settings(), metrics, None)
    yield predictor
    predictor.close()


def build_context():
    return SimpleNamespace(request=SimpleNamespace(headers={}), response=SimpleNamespace(headers={}))


async def test_rows_as_columns_are_answered_as_columns(predictor):
    got = await predict_columns(predictor, {"alcohol": [10.0, 14.0], "acid": [5.0, 5.0]}, build_context())
    assert got["predict"] == [0, 1]


@pytest.mark.parametrize("value", ["\ud800", 2**70], ids=["half a character", "a number of 70 bits"])
async def test_what_the_log_could_not_write_is_refused(predictor, metrics, value):
    with pytest.raises(InvalidArgument, match="isn't JSON"):
        await predict_columns(predictor, {"alcohol": [10.0], "acid": [value]}, build_context())
    assert metrics.registry.get_sample_value("perennial_server_in_flight") == 0


async def test_headers_say_how_odd_the_rows_are(bundle, metrics):
    predictor = Predictor(bundle, build_settings(), metrics, None, rate=rate_acid)
    context = build_context()
    await predict_columns(predictor, {"alcohol": [10.0, 14.0], "acid": [5.5, 4.0]}, context)
    predictor.close()
    assert context.response.headers["x-perennial-outlier-scores"] == "0.5,-1"
