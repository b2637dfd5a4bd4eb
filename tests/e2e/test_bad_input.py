"""What can't be honoured is refused at the door or named in a condition, while the old revision goes on serving."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.e2e.support.kube import Kube, KubeError, wait_for
from tests.e2e.support.models import save_classifier
from tests.e2e.support.objects import API, canary, deployment

URI = "perennial://sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("name", "spec", "says"),
    [
        ("m", {"nonsense": 1}, "unknown field"),
        ("m", {"rollout": canary(101)}, "100"),
        ("m", {"rollout": canary(60, 20)}, "setWeight may not fall"),
        ("m", {"model": {"uri": "ftp://bucket/model"}}, "uri"),
        ("m", {"model": {"uri": "s3://bucket/model"}}, "needs sha256"),
        ("m", {"model": {"uri": URI, "sha256": "b" * 64}}, "digest"),
        ("n" * 41, {}, "40"),
    ],
)
def test_bad_spec_is_refused_at_the_door(
    kube: Kube, namespace: str, name: str, spec: dict[str, object], says: str
) -> None:
    with pytest.raises(KubeError, match=says):
        kube.apply(deployment(name, namespace, URI, **spec))


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [
        ("test-failing", "ModelLoadFailed"),
        ("test-no-image", "ImagePullFailed"),
        ("not-there", "RuntimeNotFound"),
    ],
)
def test_server_that_cannot_start_is_named_with_its_reason(
    kube: Kube, test_runtimes: None, namespace: str, runtime: str, reason: str
) -> None:
    kube.apply(deployment("m", namespace, URI, runtime))
    got = kube.wait_condition("m", namespace, "Ready", "False", reason=reason, timeout_s=120)
    assert got["message"]


def test_missing_bundle_is_named(kube: Kube, namespace: str) -> None:
    kube.apply(deployment("m", namespace, URI))
    got = kube.wait_condition("m", namespace, "Ready", "False", reason="BundleNotFound", timeout_s=180)
    assert "push" in got["message"]


def test_name_that_belongs_to_somebody_else_is_not_taken(
    kube: Kube, test_runtimes: None, namespace: str
) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "m", "namespace": namespace},
        "spec": {"ports": [{"port": 80}]},
    }
    kube.apply(theirs)
    kube.apply(deployment("m", namespace, URI, "test-good"))
    got = kube.wait_condition("m", namespace, "NameTaken", "True", timeout_s=60)
    assert "Service" in got["message"]
    service = kube.get("service", "m", namespace)
    assert service is not None
    assert "ownerReferences" not in service["metadata"]
    assert service["spec"]["type"] == "ClusterIP"


def test_user_may_not_write_internal_kinds(kube: Kube, namespace: str) -> None:
    route = {
        "apiVersion": API,
        "kind": "ModelRoute",
        "metadata": {"name": "m", "namespace": namespace},
        "spec": {"revisions": [{"name": "m-1", "service": "m-1", "port": 3000, "weightPercent": 100}]},
    }
    with pytest.raises(KubeError, match="ModelDeployment"):
        kube.apply(route)


def test_log_entry_for_another_model_cannot_be_sent(kube: Kube, test_runtimes: None, namespace: str) -> None:
    """The observer takes the deployment from the token; without one nothing is accepted."""
    service = kube.get("service", "perennial-observer", "perennial-system")
    assert service is not None
    url = f"http://{service['spec']['clusterIP']}/v1/log"
    entry = {"revision": "victim-1", "deployment": "victim", "namespace": "other", "entries": []}
    assert httpx.post(url, json=entry, timeout=10).status_code == 401
    kube.apply(deployment("m", namespace, URI, "test-good"))
    wait_for(
        lambda: kube.get("serviceaccount", "m-trainer", namespace), timeout_s=60, what="the trainer's account"
    )
    token = kube.run("create", "token", "m-trainer", "-n", namespace, "--audience=perennial-observer").strip()
    assert (
        httpx.post(url, json=entry, headers={"authorization": f"Bearer {token}"}, timeout=10).status_code
        == 403
    )


def test_tampered_bundle_is_refused_by_push(push: Callable[[Path], str], tmp_path: Path) -> None:
    bundle = save_classifier(tmp_path / "world")
    with (bundle.path / "model.skops").open("ab") as file:
        file.write(b"x")
    with pytest.raises(AssertionError, match=r"model\.skops"):
        push(bundle.path)


def test_pickle_in_place_of_skops_is_named_and_never_loaded(
    kube: Kube, namespace: str, push: Callable[[Path], str], tmp_path: Path
) -> None:
    """Its hash in the manifest is right, so the bundle store takes it; the server must not."""
    bundle = save_classifier(tmp_path / "world")
    content = pickle.dumps(bundle.model)
    (bundle.path / "model.skops").write_bytes(content)
    manifest = json.loads((bundle.path / "bundle.json").read_text())
    manifest["files"]["model.skops"] = hashlib.sha256(content).hexdigest()
    (bundle.path / "bundle.json").write_text(json.dumps(manifest))
    kube.apply(deployment("m", namespace, push(bundle.path)))
    got = kube.wait_condition("m", namespace, "Ready", "False", reason="UnsafeModel", timeout_s=180)
    assert "pickle" in got["message"]
