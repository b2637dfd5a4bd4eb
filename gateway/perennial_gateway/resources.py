"""Compose Envoy's two files from what each route contributes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from perennial_gateway.clusters import build_clusters
from perennial_gateway.model import Route, RouteKey
from perennial_gateway.routes import (
    build_bare_name_route,
    build_not_found_route,
    build_path_routes,
    build_virtual_host,
)

ROUTE_CONFIG_NAME = "models"
_ROUTE_CONFIG_TYPE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"


@dataclass(frozen=True, slots=True)
class Fragment:
    """One route's part of the configuration; equal fragments need no new file.

    Attributes
    ----------
    clusters
        By name.
    path_routes, virtual_host
        As Envoy spells them.
    """

    clusters: Mapping[str, dict[str, Any]]
    path_routes: list[dict[str, Any]]
    virtual_host: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the form kept on disk."""
        return {
            "clusters": dict(self.clusters),
            "path_routes": self.path_routes,
            "virtual_host": self.virtual_host,
        }


def build_fragment(route: Route, cluster_domain: str) -> Fragment:
    """Return a route's part of the configuration.

    Raises
    ------
    InvalidRoute
        If the route's fields could break others' configuration.
    """
    route.validate()
    return Fragment(
        clusters={cluster["name"]: cluster for cluster in build_clusters(route)},
        path_routes=build_path_routes(route),
        virtual_host=build_virtual_host(route, cluster_domain),
    )


def build_route_configuration(fragments: Mapping[RouteKey, Fragment], gateway_url: str) -> dict[str, Any]:
    """Return the one RouteConfiguration: a virtual host per route, and one for paths on any other host."""
    by_name: dict[str, list[RouteKey]] = {}
    for key in sorted(fragments):
        by_name.setdefault(key.name, []).append(key)
    paths = [route for key in sorted(fragments) for route in fragments[key].path_routes]
    bare = [build_bare_name_route(name, keys, gateway_url) for name, keys in by_name.items()]
    any_host = {"name": "any", "domains": ["*"], "routes": [*paths, *bare, build_not_found_route()]}
    return {
        "@type": _ROUTE_CONFIG_TYPE,
        "name": ROUTE_CONFIG_NAME,
        "virtual_hosts": [*(fragments[key].virtual_host for key in sorted(fragments)), any_host],
    }


def clusters_of(fragments: Mapping[RouteKey, Fragment]) -> dict[str, dict[str, Any]]:
    """Return all clusters by name."""
    return {name: cluster for key in sorted(fragments) for name, cluster in fragments[key].clusters.items()}


def render_response(resources: Iterable[dict[str, Any]], version: str) -> bytes:
    """Return a DiscoveryResponse as Envoy reads it from a file."""
    document = {"version_info": version, "resources": list(resources)}
    return json.dumps(document, separators=(",", ":")).encode()


def digest(resources: Iterable[dict[str, Any]]) -> str:
    """Return a short digest that names a configuration in logs and in Envoy's version."""
    return hashlib.sha256(json.dumps(list(resources), sort_keys=True).encode()).hexdigest()[:12]
