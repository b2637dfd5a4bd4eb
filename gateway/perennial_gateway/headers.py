"""Names of the headers that the gateway sets, reads and keeps from clients."""

from __future__ import annotations

from typing import Any

REVISION_HEADER = "x-model-revision"
"""Answered: who served it. On the pinning port also asked for."""

PREDICTION_HEADER = "x-prediction-id"
"""Drawn by the gateway for each request: the key of feedback."""

SHADOW_HEADER = "x-perennial-shadow"
"""`true` on copied requests: the server must not act on them."""

CLIENT_HEADER = "x-perennial-client-key"
"""What tells clients apart on a sticky route: the header's or the cookie's value, or a fresh draw."""

BUDGET_HEADER = "x-perennial-latency-budget"
"""The route's latency budget as a duration, on requests of routes that have one."""

SHADOW_CLUSTER_HEADER = "x-perennial-shadow-cluster"
"""Cluster that a copied request goes to."""

SHADOW_TIMEOUT_HEADER = "x-perennial-shadow-timeout-ms"
"""How long a copied request may take."""

TIMEOUT_HEADER = "x-envoy-expected-rq-timeout-ms"
GRPC_TIMEOUT_HEADER = "grpc-timeout"
"""How long the route waits for an answer, so that a server does nothing for nobody; a gRPC client's own limit goes first."""

PIN_HEADER = "x-perennial-pin"
"""On the pinning port: the revision that the client has asked for. The server of a pinned or previewed request gets
it too: such a request is somebody's trial and no part of what a revision is judged by."""

CALLER_HEADER = "x-perennial-caller"
"""On the pinning port: the ServiceAccount whose token the request came with, as the API server names it."""

CAPTURE_HEADER = "x-perennial-capture"
"""On a copied request whose answer the gateway logs: its route. The inner listener takes it away."""

INTERNAL_HEADERS = (
    SHADOW_HEADER,
    SHADOW_CLUSTER_HEADER,
    SHADOW_TIMEOUT_HEADER,
    CLIENT_HEADER,
    BUDGET_HEADER,
    PIN_HEADER,
    CALLER_HEADER,
    CAPTURE_HEADER,
)
"""What a client must never send: these steer routing and counting."""


def add_if_absent(name: str, value: str) -> dict[str, Any]:
    """Return Envoy's instruction to set a header that isn't there."""
    return {"header": {"key": name, "value": value}, "append_action": "ADD_IF_ABSENT"}


def overwrite(name: str, value: str) -> dict[str, Any]:
    """Return Envoy's instruction to set a header whatever it was."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
