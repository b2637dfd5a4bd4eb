from types import SimpleNamespace

from perennial_api import ModelDeployment
from perennial_demo.preparing import EXAMPLE, fill_example, is_ready

from tests.unit.demo.builders import deployment, snapshot, uri

MODELS = SimpleNamespace(first_uri=uri("first"), bad_uri=uri("bad"), base_uri=uri("candidate"))


def test_example_with_the_pushed_uris_is_a_valid_deployment():
    namespace, filled = fill_example((EXAMPLE.parent / "01-flights.yaml").read_text(), MODELS)
    got = ModelDeployment.model_validate(filled)
    assert got.spec.model.uri == uri("first")
    assert got.spec.retraining is not None
    assert got.spec.retraining.data.base is not None
    assert got.spec.retraining.data.base.uri == uri("candidate")
    assert namespace["metadata"]["name"] == got.metadata.namespace


def test_ready_is_what_the_condition_says():
    assert is_ready(snapshot(deployment()))
    assert not is_ready(snapshot(deployment(ready=False)))
    assert not is_ready(snapshot())
