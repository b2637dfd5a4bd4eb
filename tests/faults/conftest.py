"""The cluster with its own operator out of the way, and a report of counts at the end of the session."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from perennial_localcluster.api import ApiClient

from tests.e2e.conftest import TEST_SERVER_IMAGE, kube
from tests.e2e.support.kube import Kube, wait_for
from tests.e2e.support.objects import echo_runtime
from tests.faults.support.upstream import Upstream
from tests.faults.support.world import ERRING, GOOD, SYSTEM, Site

__all__ = ["is_campaign", "kube", "report", "site"]

OPERATOR = "perennial-operator"
RIGHT = "perennial-faults-leases"

Say = Callable[[str], None]
_LINES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_LINES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash[_LINES]:
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Say:
    """Say a line at the end of the session, whether or not tests pass."""
    return pytestconfig.stash[_LINES].append


@pytest.fixture(scope="session")
def is_campaign() -> bool:
    """Whether to play every fault rather than a sample: PERENNIAL_CAMPAIGN=1."""
    return os.environ.get("PERENNIAL_CAMPAIGN", "") not in ("", "0")


@pytest.fixture(scope="module")
def site(kube: Kube) -> Iterator[Site]:
    """The cluster, with its own operator stopped: two would do the same work. Whatever runs next has it back."""
    kube.apply(echo_runtime(GOOD, TEST_SERVER_IMAGE))
    kube.apply(echo_runtime(ERRING, TEST_SERVER_IMAGE, ERROR_RATE="0.3"))
    kubeconfig = Path(kube.env["KUBECONFIG"])
    service = kube.get("service", "perennial-gateway", SYSTEM)
    assert service is not None
    token = kube.run("create", "token", OPERATOR, "-n", SYSTEM, "--duration=24h").strip()
    _grant_leases(kube)
    replicas = _scale(kube, 0)
    try:
        yield Site(
            ApiClient(kubeconfig),
            Upstream.read(kubeconfig),
            token,
            f"http://{service['spec']['clusterIP']}",
        )
    finally:
        _scale(kube, replicas)
        kube.run("delete", "role,rolebinding", RIGHT, "-n", SYSTEM, "--ignore-not-found")
        kube.run("delete", "clustermodelruntime", GOOD, ERRING, "--ignore-not-found")


def _scale(kube: Kube, replicas: int) -> int:
    """Scale the cluster's operator and wait; return how many there were."""
    deployment = kube.get("deployment", OPERATOR, SYSTEM)
    assert deployment is not None
    kube.run("scale", "deployment", OPERATOR, "-n", SYSTEM, f"--replicas={replicas}")
    selector = "app.kubernetes.io/name=perennial,app.kubernetes.io/component=operator"
    wait_for(
        lambda: sum(_is_running(pod) for pod in kube.list("pods", SYSTEM, selector)) == replicas,
        timeout_s=120,
        what=f"{replicas} operators in the cluster",
    )
    # An installation whose test run was killed has none: then there are two again.
    return deployment["spec"]["replicas"] or 2


def _is_running(pod: dict[str, Any]) -> bool:
    return pod["status"]["phase"] not in ("Succeeded", "Failed")


def _grant_leases(kube: Kube) -> None:
    """Let the operator's account hold leases by other names: each world has one of its own."""
    api = "rbac.authorization.k8s.io"
    metadata = {"name": RIGHT, "namespace": SYSTEM}
    kube.apply(
        {
            "apiVersion": f"{api}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [
                {
                    "apiGroups": ["coordination.k8s.io"],
                    "resources": ["leases"],
                    "verbs": ["get", "create", "update", "patch"],
                }
            ],
        }
    )
    kube.apply(
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": RIGHT},
            "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": SYSTEM}],
        }
    )
