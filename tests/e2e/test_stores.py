"""A model in a private bucket of an S3 server that runs on the node, with its Secret and without."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import perennial_bundle
import pytest

from tests.e2e.support.kube import Kube, wait_for
from tests.e2e.support.models import make_rows, request_body, save_classifier
from tests.e2e.support.objects import deployment
from tests.integration.server.stores import READER, S3Server, run_s3_server

NAME = "world"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> perennial_bundle.Bundle:
    return save_classifier(tmp_path_factory.mktemp("bundle") / "world")


@pytest.fixture(scope="module")
def s3(
    kube: Kube, bundle: perennial_bundle.Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[S3Server]:
    """The store, at the address that the node, which is this machine, has for its pods."""
    addresses = kube.list("node")[0]["status"]["addresses"]
    host = next(found["address"] for found in addresses if found["type"] == "InternalIP")
    tar: Path = tmp_path_factory.mktemp("tar") / "world.tar"
    with tar.open("wb") as file:
        perennial_bundle.pack(bundle.path, file)
    with run_s3_server(tmp_path_factory.mktemp("s3"), host) as server:
        server.put("models", "world.tar", tar.read_bytes())
        yield server


@pytest.fixture
def secret(s3: S3Server, namespace: str) -> dict[str, Any]:
    values = {
        "AWS_ACCESS_KEY_ID": READER[0],
        "AWS_SECRET_ACCESS_KEY": READER[1],
        "AWS_ENDPOINT_URL": s3.url,
        "AWS_REGION": "us-east-1",
    }
    metadata = {"name": "world-s3", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


@pytest.fixture
def serve(kube: Kube, namespace: str, bundle: perennial_bundle.Bundle) -> Callable[[], str]:
    """Apply the ModelDeployment and return the bundle's digest."""

    def apply() -> str:
        model = {"sha256": bundle.digest.removeprefix("sha256:"), "secretRef": {"name": "world-s3"}}
        kube.apply(deployment(NAME, namespace, "s3://models/world.tar", model=model))
        return bundle.digest

    return apply


def model_status(kube: Kube, namespace: str) -> dict[str, Any]:
    found = kube.get("modeldeployment", NAME, namespace) or {}
    return found.get("status", {}).get("modelStatus", {})


def test_model_of_a_private_bucket_is_served(
    kube: Kube, namespace: str, gateway_url: str, secret: dict[str, Any], serve: Callable[[], str]
) -> None:
    kube.apply(secret)
    digest = serve()
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=180)
    assert model_status(kube, namespace)["digest"] == digest
    frame, _ = make_rows(2)
    url = f"{gateway_url}/{namespace}/{NAME}/v2/models/{NAME}/infer"
    answer = httpx.post(url, json=request_body(frame), timeout=20)
    assert answer.status_code == 200, answer.text


def test_absent_secret_is_told_and_found_once_it_is_there(
    kube: Kube, namespace: str, secret: dict[str, Any], serve: Callable[[], str]
) -> None:
    serve()

    def failure() -> dict[str, Any] | None:
        got = model_status(kube, namespace).get("lastFailureInfo")
        return got if got and got["reason"] == "AccessDenied" else None

    got = wait_for(failure, timeout_s=180, what="AccessDenied")
    assert "the Secret of spec.model.secretRef isn't there" in got["message"]
    kube.apply(secret)
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=300)
