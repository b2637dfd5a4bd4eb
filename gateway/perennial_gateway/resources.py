"""Compose Envoy's three files from what each route contributes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from perennial_gateway.clusters import build_clusters
from perennial_gateway.model import Route, RouteKey
from perennial_gateway.pins import build_pin_path_routes, build_pin_virtual_host
from perennial_gateway.routes import (
    build_bare_name_route,
    build_not_found_route,
    build_path_routes,
    build_virtual_hosts,
)

ROUTE_CONFIG_NAME = "models"
PIN_CONFIG_NAME = "pins"
_ROUTE_CONFIG_TYPE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"


@dataclass(frozen=True, slots=True)
class Fragment:
    """One route's part of the configuration; equal fragments need no new file.

    Attributes
    ----------
    clusters
        By name.
    path_routes, virtual_hosts
        Of the public port, as Envoy spells them.
    pin_routes, pin_host
        Of the pinning port.
    """

    clusters: Mapping[str, dict[str, Any]]
    path_routes: list[dict[str, Any]]
    virtual_hosts: list[dict[str, Any]]
    pin_routes: list[dict[str, Any]]
    pin_host: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the form kept on disk."""
        return {
            "clusters": dict(self.clusters),
            "path_routes": self.path_routes,
            "virtual_hosts": self.virtual_hosts,
            "pin_routes": self.pin_routes,
            "pin_host": self.pin_host,
        }


def build_fragment(route: Route, cluster_domain: str, shadow_socket: str) -> Fragment:
    """Return a route's part of the configuration.

    Raises
    ------
    InvalidRoute
        If the route's fields could break others' configuration.
    """
    route.validate()
    return Fragment(
        clusters={cluster["name"]: cluster for cluster in build_clusters(route, shadow_socket)},
        path_routes=build_path_routes(route),
        virtual_hosts=build_virtual_hosts(route, cluster_domain),
        pin_routes=build_pin_path_routes(route),
        pin_host=build_pin_virtual_host(route, cluster_domain),
    )


def build_route_configuration(fragments: Mapping[RouteKey, Fragment], gateway_url: str) -> dict[str, Any]:
    """Return the one RouteConfiguration: a virtual host per route, and one for paths on any other host."""
    by_name: dict[str, list[RouteKey]] = {}
    for key in sorted(fragments):
        by_name.setdefault(key.name, []).append(key)
    paths = [route for key in sorted(fragments) for route in fragments[key].path_routes]
    bare = [build_bare_name_route(name, keys, gateway_url) for name, keys in by_name.items()]
    hosts = [host for key in sorted(fragments) for host in fragments[key].virtual_hosts]
    return _configuration(ROUTE_CONFIG_NAME, hosts, [*paths, *bare, build_not_found_route()])


def build_pin_configuration(fragments: Mapping[RouteKey, Fragment]) -> dict[str, Any]:
    """Return the RouteConfiguration of the pinning port."""
    paths = [route for key in sorted(fragments) for route in fragments[key].pin_routes]
    hosts = [fragments[key].pin_host for key in sorted(fragments)]
    return _configuration(PIN_CONFIG_NAME, hosts, [*paths, build_not_found_route()])


def _configuration(
    name: str, hosts: list[dict[str, Any]], any_host_routes: list[dict[str, Any]]
) -> dict[str, Any]:
    any_host = {"name": "any", "domains": ["*"], "routes": any_host_routes}
    return {"@type": _ROUTE_CONFIG_TYPE, "name": name, "virtual_hosts": [*hosts, any_host]}


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
