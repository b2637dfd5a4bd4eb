"""Copy requests to a shadow: through an inner listener, so that copies are counted like live requests.

Envoy writes no access log for a copy and keeps its times only in histograms that start anew with
each change of endpoints. Sent once through a listener of its own it is a request like any other.
"""

from __future__ import annotations

from typing import Any

from perennial_gateway.clusters import Traffic, cluster_name
from perennial_gateway.headers import (
    CAPTURE_HEADER,
    CLIENT_HEADER,
    REVISION_HEADER,
    SHADOW_CLUSTER_HEADER,
    SHADOW_HEADER,
    SHADOW_TIMEOUT_HEADER,
    overwrite,
)
from perennial_gateway.model import Route

COPY_TIMEOUT_SHARE = 0.9
"""The inner listener gives a hanging copy up, and counts it, before the outer one cancels it uncounted."""


def build_mirror_policies(route: Route) -> list[dict[str, Any]]:
    """Return the copying of a route's requests; none while its shadow has no server to fail them."""
    if not route.mirror or not route.has_server(route.mirror):
        return []
    namespace = route.key.namespace
    headers = {
        SHADOW_HEADER: "true",
        REVISION_HEADER: route.mirror,
        SHADOW_CLUSTER_HEADER: cluster_name(namespace, route.mirror, Traffic.SHADOW, grpc=route.is_grpc),
        SHADOW_TIMEOUT_HEADER: str(int(1000 * COPY_TIMEOUT_SHARE * route.timeout_s)),
    }
    if route.logs(route.mirror) and not route.is_grpc:
        headers[CAPTURE_HEADER] = str(route.key)
    return [
        {
            "cluster": cluster_name(namespace, route.mirror, Traffic.MIRROR, grpc=route.is_grpc),
            "runtime_fraction": {
                "default_value": {"numerator": route.mirror_percent, "denominator": "HUNDRED"}
            },
            "disable_shadow_host_suffix_append": True,
            "request_headers_mutations": [
                *({"append": overwrite(name, value)} for name, value in headers.items()),
                {"remove": CLIENT_HEADER},
            ],
        }
    ]


def build_shadow_action(retry_policy: dict[str, Any]) -> dict[str, Any]:
    """Return the inner listener's only route: to the cluster that the copy names."""
    return {
        "match": {"prefix": "/"},
        "request_headers_to_remove": [SHADOW_CLUSTER_HEADER, SHADOW_TIMEOUT_HEADER, CAPTURE_HEADER],
        "route": {"cluster_header": SHADOW_CLUSTER_HEADER, "retry_policy": retry_policy},
    }
