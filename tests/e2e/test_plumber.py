"""The example of a model in any image: R's plumber, built and applied as its first lines say."""

import math
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from perennial_demo import install
from perennial_localcluster import images

from tests.e2e.support.kube import Kube, wait_for

EXAMPLES = Path(__file__).parents[2] / "examples"
NAME = "transmission"
IMAGE = f"{install.REGISTRY}/{NAME}:dev"
# Stands for rocker/r-ver and install2.r: R and plumber in Debian's packages, as a build has no network here.
R_IMAGE = f"{install.REGISTRY}/r:1"
R_FOLDER = Path(__file__).parent / "support" / "r"
FETCHED = ("FROM ", "RUN ")
# What R's `coef(glm(am ~ wt + hp, data = mtcars, family = binomial))` prints with 15 digits.
INTERCEPT, WT, HP = 18.8662987172041, -8.08347518244463, 0.0362555960822165
# Another version of R or BLAS may stop the fit a step of 1e-8 away. Four digits, plumber's default, would differ by more.
TOLERANCE = 1e-6
KILLED = 128 + signal.SIGKILL


def compute_probability(wt: float, hp: float) -> float:
    return 1 / (1 + math.exp(-(INTERCEPT + WT * wt + HP * hp)))


def build_request(wt: list[float], hp: list[float]) -> dict[str, object]:
    columns = {"wt": wt, "hp": hp}
    tensors = [
        {"name": name, "datatype": "FP64", "shape": [len(data)], "data": data}
        for name, data in columns.items()
    ]
    return {"inputs": tensors}


@pytest.fixture(scope="module")
def image(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the example's Containerfile on an image that has already what it would fetch."""
    context = tmp_path_factory.mktemp("plumber") / "image"
    shutil.copytree(EXAMPLES / "13-container", context)
    base = images.build_debian(R_IMAGE, R_FOLDER)
    recipe = (context / "Containerfile").read_text().splitlines()
    kept = [line for line in recipe if not line.startswith(FETCHED)]
    # The label makes another image of another base.
    lines = [f"FROM {R_IMAGE}", f"LABEL base={base.image_id}", *kept]
    (context / "Containerfile").write_text("\n".join(lines) + "\n")
    images.build(IMAGE, context)
    images.load(IMAGE)
    return IMAGE


@pytest.fixture(scope="module")
def model_namespace(kube: Kube, image: str) -> Iterator[str]:
    namespace = f"plumber-{uuid.uuid4().hex[:6]}"
    kube.run("create", "namespace", namespace)
    for document in yaml.safe_load_all((EXAMPLES / "13-container.yaml").read_text()):
        document["metadata"]["namespace"] = namespace
        if document["kind"] == "ModelRuntime":
            document["spec"]["image"] = image
        kube.apply(document)
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=300)
    yield namespace
    kube.run("delete", "namespace", namespace, "--wait=false")


@pytest.fixture
def model_url(model_namespace: str, gateway_url: str) -> str:
    return f"{gateway_url}/{model_namespace}/{NAME}/v2/models/{NAME}"


@pytest.mark.parametrize(
    ("wt", "hp"), [([2.6], [110.0]), ([2.6, 3.4, 2.8], [110.0, 150.0, 200.0])], ids=["one row", "three rows"]
)
def test_r_answers_the_protocol_as_its_regression_does(
    model_url: str, wt: list[float], hp: list[float]
) -> None:
    answer = httpx.post(f"{model_url}/infer", json=build_request(wt, hp), timeout=30)
    assert answer.status_code == 200, answer.text
    got = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    want = [compute_probability(*row) for row in zip(wt, hp, strict=True)]
    assert got["probability"] == pytest.approx(want, abs=TOLERANCE, rel=0)
    assert got["predict"] == [int(probability > 0.5) for probability in want]


def test_the_model_says_that_it_is_a_container(model_url: str) -> None:
    got = httpx.get(model_url, timeout=30).json()
    assert got["platform"] == "container"
    assert [tensor["name"] for tensor in got["inputs"]] == ["wt", "hp"]


def test_its_schema_refuses_a_car_too_heavy_before_r_is_asked(model_url: str) -> None:
    answer = httpx.post(f"{model_url}/infer", json=build_request([2.6, 9.0], [110.0, 110.0]), timeout=30)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("wt: row 1 ")


def test_r_ends_by_itself_when_its_pod_does(kube: Kube, model_namespace: str) -> None:
    pod = kube.list("pod", model_namespace)[0]["metadata"]["name"]
    # A finalizer keeps the pod for a look at how it ended.
    kube.patch("pod", pod, model_namespace, {"metadata": {"finalizers": ["perennial.dev/test"]}})
    kube.delete("pod", pod, model_namespace, wait=False)

    def find_end() -> dict[str, Any] | None:
        found = kube.get("pod", pod, model_namespace)
        assert found is not None
        states = {row["name"]: row["state"] for row in found["status"]["initContainerStatuses"]}
        return states["model"].get("terminated")

    try:
        got = wait_for(find_end, timeout_s=120, what="the model's container has ended")
    finally:
        kube.patch("pod", pod, model_namespace, {"metadata": {"finalizers": None}})
    assert got["exitCode"] != KILLED, got
