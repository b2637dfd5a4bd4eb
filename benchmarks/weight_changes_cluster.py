"""How long a change of weights takes to be in force on every router of a real cluster.

`python -m benchmarks.weight_changes_cluster --changes 100 --routes 300` writes a ModelRoute as the operator does, and asks
each router's agent until it says that Envoy has applied that generation. The time runs from before the write until the
last router's word. It needs an installation (`make up`) and the environment of `perennial-localcluster env`; it makes one
namespace and removes it.
"""

import argparse
import base64
import json
import os
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

INSTALLATION = "perennial-system"
NAMESPACE = f"weight-changes-{os.getpid()}"
OPERATOR = f"system:serviceaccount:{INSTALLATION}:perennial-operator"
ROUTES = f"/apis/perennial.dev/v1alpha1/namespaces/{NAMESPACE}/modelroutes"
AGENT_PORT = 9902
POLL_S = 0.01
LONGEST_S = 30.0


def build_clients() -> tuple[httpx.Client, httpx.Client]:
    """Return clients of the API server, as the administrator and as the operator."""
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile("wb") as file:
        for key in ("client-certificate-data", "client-key-data"):
            file.write(base64.b64decode(user[key]) + b"\n")
        file.flush()
        context.load_cert_chain(file.name)
    admin = httpx.Client(base_url=cluster["server"], verify=context, timeout=30)
    as_operator = httpx.Client(
        base_url=cluster["server"], verify=context, timeout=30, headers={"impersonate-user": OPERATOR}
    )
    return admin, as_operator


def build_route(name: str, weight_percent: int) -> dict[str, Any]:
    """Build a route of two revisions without pods."""
    revisions = [
        {"name": f"{name}-{i}", "service": f"{name}-{i}", "port": 3000, "weightPercent": weight}
        for i, weight in ((1, 100 - weight_percent), (2, weight_percent))
    ]
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "ModelRoute",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/managed-by": "perennial"},
        },
        "spec": {"revisions": revisions},
    }


@contextmanager
def make_routes(admin: httpx.Client, operator: httpx.Client, others: int) -> Iterator[None]:
    """Make the measured route and the others in a namespace that is removed at the end."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    admin.post("/api/v1/namespaces", json=body).raise_for_status()
    try:
        for name in ("measured", *(f"other-{i}" for i in range(others))):
            operator.post(ROUTES, json=build_route(name, 50)).raise_for_status()
        yield
    finally:
        admin.delete(f"/api/v1/namespaces/{NAMESPACE}")


def find_routers(admin: httpx.Client) -> list[str]:
    """Return the addresses of the router agents that are ready."""
    selector = "app.kubernetes.io/component=gateway"
    answer = admin.get(f"/api/v1/namespaces/{INSTALLATION}/pods", params={"labelSelector": selector})
    pods = answer.raise_for_status().json()["items"]
    return [
        f"http://{pod['status']['podIP']}:{AGENT_PORT}" for pod in pods if pod["status"]["phase"] == "Running"
    ]


def wait_applied(routers: list[str], client: httpx.Client, generation: int) -> None:
    """Wait until every router serves a generation of the measured route."""
    deadline = time.monotonic() + LONGEST_S
    waiting = list(routers)
    while waiting:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{waiting} have not applied generation {generation} within {LONGEST_S} s")
        waiting = [router for router in waiting if not _has(client, router, generation)]
        time.sleep(POLL_S)


def _has(client: httpx.Client, router: str, generation: int) -> bool:
    answer = client.get(f"{router}/applied", params={"route": f"{NAMESPACE}/measured"})
    if answer.is_error:
        return False
    got = answer.json()
    return got["state"] == "Applied" and got["generation"] >= generation


def measure(operator: httpx.Client, routers: list[str], changes: int) -> list[float]:
    """Return how long each change took, in milliseconds."""
    took: list[float] = []
    with httpx.Client(timeout=5) as agents:
        wait_applied(routers, agents, 1)
        for i in range(changes):
            spec = {"spec": build_route("measured", 1 + i % 99)["spec"]}
            started = time.monotonic()
            answer = operator.patch(
                f"{ROUTES}/measured",
                content=json.dumps(spec),
                headers={"content-type": "application/merge-patch+json"},
            )
            generation = answer.raise_for_status().json()["metadata"]["generation"]
            wait_applied(routers, agents, generation)
            took.append(1000 * (time.monotonic() - started))
    return took


def main() -> int:
    """Measure and print the distribution."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--routes", type=int, default=0, help="other routes on the same gateway")
    arguments = parser.parse_args()
    admin, operator = build_clients()
    with make_routes(admin, operator, arguments.routes):
        routers = find_routers(admin)
        took = sorted(measure(operator, routers, arguments.changes))
    p95 = took[min(len(took) - 1, int(0.95 * len(took)))]
    print(
        f"{len(took)} changes, {len(routers)} routers, {arguments.routes} other routes: median"
        f" {statistics.median(took):.0f} ms, p95 {p95:.0f} ms, largest {took[-1]:.0f} ms"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
