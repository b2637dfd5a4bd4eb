"""Ask the gateway's pods, through the API server, what they have made of a route."""

from __future__ import annotations

import json
from typing import Any, Protocol

from perennial.cli.answer import Answer
from perennial.cli.errors import ClusterError, NotAllowedError
from perennial.cli.views.weights import RouterLine

__all__ = ["GatewayReader", "read_routers"]

GATEWAY_SELECTOR = "app.kubernetes.io/name=perennial,app.kubernetes.io/component=gateway"
AGENT_PORT = 9902

_OK = 200


class GatewayReader(Protocol):
    """What asking the routers needs of the cluster."""

    def list_pods(self, namespace: str, selector: str) -> list[dict[str, Any]] | None:
        """Return pods by their labels, or None where the user may not see them."""

    def get_through_proxy(self, namespace: str, pod: str, port: int, path: str) -> Answer:
        """GET a page of a pod through the API server."""


def read_routers(
    cluster: GatewayReader, installation: str, namespace: str, name: str
) -> list[RouterLine] | None:
    """Return what every gateway pod says of a deployment's route, or None where the user may not ask."""
    pods = cluster.list_pods(installation, GATEWAY_SELECTOR)
    if pods is None:
        return None
    lines = []
    for pod in sorted(pods, key=lambda body: str(body["metadata"]["name"])):
        if (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
            continue
        try:
            answer = cluster.get_through_proxy(installation, pod["metadata"]["name"], AGENT_PORT, "/status")
        except NotAllowedError:
            return None
        except ClusterError as error:
            lines.append(_line(pod, {}, namespace, name, str(error)))
            continue
        if answer.status in {401, 403}:
            return None
        said = _parse(answer)
        lines.append(
            _line(pod, said, namespace, name, "" if said else f"Its agent answered HTTP {answer.status}.")
        )
    return lines


def _parse(answer: Answer) -> dict[str, Any]:
    try:
        said = json.loads(answer.body) if answer.status == _OK else None
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {}


def _line(pod: dict[str, Any], said: dict[str, Any], namespace: str, name: str, message: str) -> RouterLine:
    conditions = {c["type"]: c["status"] for c in (pod.get("status") or {}).get("conditions") or []}
    route = (said.get("routes") or {}).get(f"{namespace}/{name}") or {}
    prefix = f"{namespace}/"
    return RouterLine(
        pod=pod["metadata"]["name"],
        ready=conditions.get("Ready") == "True",
        state=route.get("state") or "Unknown",
        generation=int(route.get("generation") or 0),
        requests={
            key.removeprefix(prefix): int(counts.get("requests") or 0)
            for key, counts in (said.get("counters") or {}).items()
            if key.startswith(f"{prefix}{name}-")
        },
        message=route.get("message") or message,
    )
