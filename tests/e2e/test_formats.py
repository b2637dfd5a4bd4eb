"""Each format's example, trained, pushed and applied as its first lines say, asked over REST and gRPC."""

import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import perennial_bundle
import pytest
import tritonclient.grpc as triton
import yaml
from perennial_bundle import Bundle
from perennial_server.loading.sample import build_rows, render_request

from tests.e2e.support.kube import Kube

EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS = 5
TRITON_TYPES = {"BYTES": np.object_, "INT64": np.int64, "FP32": np.float32, "FP64": np.float64}


@dataclass(frozen=True)
class Served:
    """An example under way: its bundle, and where it is served."""

    bundle: Bundle
    name: str
    namespace: str
    gateway_url: str

    @property
    def model_url(self) -> str:
        return f"{self.gateway_url}/{self.namespace}/{self.name}/v2/models/{self.name}"


@pytest.fixture(scope="module", params=["10-onnx", "11-ensemble"])
def served(
    request: pytest.FixtureRequest,
    kube: Kube,
    gateway_url: str,
    push: Callable[[Path], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Served:
    example = request.param
    directory = tmp_path_factory.mktemp(example) / "bundle"
    script = EXAMPLES / example / "train.py"
    subprocess.run([sys.executable, script, directory], check=True, timeout=300)
    namespace = f"format-{uuid.uuid4().hex[:6]}"
    kube.run("create", "namespace", namespace)
    document = yaml.safe_load((EXAMPLES / f"{example}.yaml").read_text())
    document["metadata"]["namespace"] = namespace
    document["spec"]["model"]["uri"] = push(directory)
    kube.apply(document)
    name = document["metadata"]["name"]
    kube.wait_condition(name, namespace, "Ready", "True", timeout_s=240)
    return Served(perennial_bundle.load(directory), name, namespace, gateway_url)


def test_example_answers_over_rest_as_its_bundle_does(served: Served) -> None:
    rows = build_rows(served.bundle, ROWS)
    answer = httpx.post(f"{served.model_url}/infer", content=render_request(served.bundle, rows), timeout=30)
    assert answer.status_code == 200, answer.text
    got = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    want = served.bundle.predict(served.bundle.schema.validate(rows))
    assert np.allclose(got["probability"], want["probability"], atol=1e-6)
    assert not any("." in name for name in got), "members answer only when they are asked for"


def test_example_answers_over_grpc_as_its_bundle_does(served: Served) -> None:
    rows = build_rows(served.bundle, ROWS)
    inputs = []
    for column in served.bundle.schema.inputs:
        if column.name in rows:
            # An array of numbers has NaN for what is missing: None becomes it.
            values = np.array(rows[column.name], dtype=TRITON_TYPES[column.datatype])
            tensor = triton.InferInput(column.name, [ROWS], column.datatype)
            tensor.set_data_from_numpy(values)
            inputs.append(tensor)
    authority = f"{served.name}.{served.namespace}"
    with triton.InferenceServerClient(
        f"{urlsplit(served.gateway_url).hostname}:80", channel_args=[("grpc.default_authority", authority)]
    ) as client:
        assert client.is_model_ready(served.name)
        answer = client.infer(served.name, inputs, client_timeout=30)
    want = served.bundle.predict(served.bundle.schema.validate(rows))
    assert np.allclose(answer.as_numpy("probability"), want["probability"], atol=1e-6)
    assert answer.get_response().parameters["prediction_id"].string_param


def test_example_explains_its_answers(served: Served) -> None:
    body = render_request(served.bundle, build_rows(served.bundle, ROWS))
    answer = httpx.post(f"{served.model_url}/explain", content=body, timeout=60)
    assert answer.status_code == 200, answer.text
    outputs = {output["name"]: output for output in answer.json()["outputs"]}
    assert outputs["contributions"]["shape"] == [ROWS, len(served.bundle.schema.feature_names)]


def test_members_of_the_ensemble_answer_when_they_are_asked_for(served: Served) -> None:
    members = [column.name for column in served.bundle.schema.outputs if column.role == "Member"]
    assert bool(members) == (served.bundle.manifest.format == "ensemble")
    body = yaml.safe_load(render_request(served.bundle, build_rows(served.bundle, ROWS)))
    answer = httpx.post(
        f"{served.model_url}/infer",
        json={**body, "outputs": [{"name": name} for name in members]},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    got = [output["name"] for output in answer.json()["outputs"]]
    assert got == members or (not members and "probability" in got)
