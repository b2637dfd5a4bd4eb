"""Every example is accepted by the API server as it stands."""

from pathlib import Path

import pytest
import yaml

from tests.e2e.support.kube import Kube

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_accepted(kube: Kube, namespace: str, example: Path) -> None:
    documents = [d for d in yaml.safe_load_all(example.read_text()) if d["kind"] != "Namespace"]
    assert documents
    for document in documents:
        document["metadata"]["namespace"] = namespace
        got = kube.apply(document)
        assert got["metadata"]["name"] == document["metadata"]["name"]
