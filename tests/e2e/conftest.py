"""One cluster and one installation for the whole end-to-end suite; a namespace of its own for each test."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from perennial_demo import install

from tests.e2e.support.kube import Kube
from tests.e2e.support.objects import echo_runtime

TEST_SERVER_IMAGE = "localhost/perennial/testserver:dev"
VALUES = (
    "operator.prometheus.addresses[0]=http://prometheus.perennial-monitoring:9090",
    "observer.customUrls[0]=http://checks.perennial-monitoring:8080",
)
PUSH = Path(sys.executable).with_name("kubectl-perennial")


@pytest.fixture(scope="session")
def kube() -> Kube:
    """The administrator's kubectl on a cluster where the chart is installed."""
    environment = install.up(
        images_wanted=(*install.IMAGES, "testserver"), addons=("prometheus",), values=VALUES
    )
    os.environ.update(environment)
    return Kube({**os.environ, **environment})


@pytest.fixture(scope="session")
def test_runtimes(kube: Kube) -> None:
    """Runtimes of the tiny test server: one that is fine, and others that misbehave each in its own way.

    Where variants share a runtime, what ends in eight digits is for the model whose digest begins so.
    """
    runtimes: dict[str, dict[str, str]] = {
        "test-good": {},
        "test-erring": {"ERROR_RATE": "0.3"},
        "test-some-users": {"ERROR_USERS": "0.4"},
        "test-failing": {"FAIL_REASON": "ModelLoadFailed"},
        "test-slow": {"SLOW_RATE": "0.5", "SLOW_MS": "150"},
        "test-refusing": {"INVALID_RATE": "0.3"},
        "test-late": {"LATENCY_MS": "80"},
        "test-later": {"LATENCY_MS": "90"},
        "test-logging": {"LOG": "true"},
        "test-foreign": {"LOG": "true", "REFERENCE_MEAN": "8"},
        "test-arms": {"ERROR_RATE_bbbbbbbb": "0.5", "FAIL_REASON_cccccccc": "ModelLoadFailed"},
        "test-stable-errs": {"ERROR_RATE_aaaaaaaa": "0.4"},
        "test-shadow": {"LOG": "true", "TASK": "Regression", "PREDICT_bbbbbbbb": "1"},
    }
    for name, env in runtimes.items():
        kube.apply(echo_runtime(name, TEST_SERVER_IMAGE, **env))
    kube.apply(echo_runtime("test-no-image", "localhost/perennial/does-not-exist:1"))


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    name = f"t-{uuid.uuid4().hex[:8]}"
    kube.run("create", "namespace", name)
    yield name
    kube.run("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def gateway_url(kube: Kube) -> str:
    """The gateway's address as the host reaches it."""
    service = kube.get("service", "perennial-gateway", install.NAMESPACE)
    assert service is not None
    return f"http://{service['spec']['clusterIP']}"


@pytest.fixture(scope="session")
def push(kube: Kube) -> Callable[[Path], str]:
    """Push a bundle as a user does and return its URI."""

    def run(path: Path) -> str:
        done = subprocess.run(
            [PUSH, "push", str(path), "-o", "json"],
            env=kube.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["uri"]

    return run
