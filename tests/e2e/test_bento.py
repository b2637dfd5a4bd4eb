"""The example of a Bento of one's own: trained, built, put into an image and applied as its first lines say."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest
import skops.io
import yaml
from perennial_demo import install
from perennial_localcluster import images

from tests.e2e.support.kube import Kube

EXAMPLES = Path(__file__).parents[2] / "examples"
NAME = "late"
IMAGE = f"{install.REGISTRY}/late:dev"
# What `bentoml containerize` would write, on an image that has the packages: a build has no network here.
RECIPE = f"""\
FROM {install.REGISTRY}/server:dev
COPY bento /srv/bento
ENTRYPOINT []
CMD ["bentoml", "serve", "/srv/bento", "--host", "127.0.0.1"]
"""
ROWS = {"wind": [1.0, 40.0, 12.5], "carrier": ["AA", "UA", "DL"]}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bento") / "project"
    shutil.copytree(EXAMPLES / "12-bento", directory)
    subprocess.run([sys.executable, directory / "train.py"], check=True, timeout=300)
    return directory


@pytest.fixture(scope="module")
def image(kube: Kube, example: Path) -> str:
    """Build the Bento, and an image of it."""
    bentofile = yaml.safe_load((example / "bentofile.yaml").read_text())
    bentofile["python"]["lock_packages"] = False  # locking asks an index
    (example / "bentofile.yaml").write_text(yaml.safe_dump(bentofile))
    context = example.parent / "image"
    context.mkdir()
    home = example.parent / "bentoml"
    # BentoML looks for uv even where there is nothing to lock, and would install it.
    uv = example.parent / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text("#!/bin/sh\nexit 1\n")
    uv.chmod(0o755)
    environment = {
        **os.environ,
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "PATH": f"{uv.parent}:{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "bentoml", "build", str(example), "--output", "tag"]
    subprocess.run(command, check=True, timeout=300, env=environment, cwd=example)
    (built,) = (path for path in (home / "bentos" / NAME).iterdir() if path.is_dir())
    shutil.copytree(built, context / "bento")
    (context / "Containerfile").write_text(RECIPE)
    images.build(IMAGE, context)
    images.load(IMAGE)
    return IMAGE


@pytest.fixture(scope="module")
def model_url(kube: Kube, image: str, gateway_url: str) -> Iterator[str]:
    namespace = f"bento-{uuid.uuid4().hex[:6]}"
    kube.run("create", "namespace", namespace)
    for document in yaml.safe_load_all((EXAMPLES / "12-bento.yaml").read_text()):
        document["metadata"]["namespace"] = namespace
        if document["kind"] == "ModelRuntime":
            document["spec"]["image"] = image
        kube.apply(document)
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=300)
    yield f"{gateway_url}/{namespace}/{NAME}/v2/models/{NAME}"
    kube.run("delete", "namespace", namespace, "--wait=false")


def test_bento_answers_the_protocol_as_its_model_does(model_url: str, example: Path) -> None:
    inputs = [
        {"name": "wind", "datatype": "FP64", "shape": [3], "data": ROWS["wind"]},
        {"name": "carrier", "datatype": "BYTES", "shape": [3], "data": ROWS["carrier"]},
    ]
    answer = httpx.post(f"{model_url}/infer", json={"inputs": inputs}, timeout=30)
    assert answer.status_code == 200, answer.text
    got = {output["name"]: output["data"] for output in answer.json()["outputs"]}
    frame = pd.DataFrame(ROWS)
    model = skops.io.load(example / "late.skops")
    assert got["predict"] == model.predict(frame).tolist()
    assert got["probability"] == pytest.approx(model.predict_proba(frame)[:, 1].tolist())
    assert httpx.get(model_url, timeout=30).json()["platform"] == "bento"


def test_its_schema_refuses_before_the_bento_is_asked(model_url: str) -> None:
    tensor = {"name": "wind", "datatype": "FP64", "shape": [1], "data": ["strong"]}
    carrier = {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["AA"]}
    answer = httpx.post(f"{model_url}/infer", json={"inputs": [tensor, carrier]}, timeout=30)
    assert answer.status_code == 400
    assert "wind" in answer.json()["error"]
