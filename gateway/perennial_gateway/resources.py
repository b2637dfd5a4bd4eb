"""Compose Envoy's three files from what each route contributes.

Each route's part is rendered once, when it changes: with a thousand routes, rendering all of them for one
change would take longer than Envoy needs to take it up.
"""

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
    retry_policy,
)

ROUTE_CONFIG_NAME = "models"
PIN_CONFIG_NAME = "pins"
_ROUTE_CONFIG_TYPE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"


@dataclass(frozen=True, slots=True)
class Fragment:
    """One route's part of the configuration, as JSON; equal fragments need no new file.

    Attributes
    ----------
    clusters
        By name.
    path_routes, virtual_hosts
        Of the public port, each a comma-separated list.
    pin_routes, pin_host
        Of the pinning port.
    """

    clusters: Mapping[str, str]
    path_routes: str
    virtual_hosts: str
    pin_routes: str
    pin_host: str

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
        clusters={cluster["name"]: render_json(cluster) for cluster in build_clusters(route, shadow_socket)},
        path_routes=_join(map(render_json, build_path_routes(route))),
        virtual_hosts=_join(map(render_json, build_virtual_hosts(route, cluster_domain))),
        pin_routes=_join(map(render_json, build_pin_path_routes(route))),
        pin_host=render_json(build_pin_virtual_host(route, cluster_domain)),
    )


def build_route_configuration(fragments: Mapping[RouteKey, Fragment], gateway_url: str) -> str:
    """Return the one RouteConfiguration: a virtual host per route, and one for paths on any other host."""
    by_name: dict[str, list[RouteKey]] = {}
    keys = sorted(fragments)
    for key in keys:
        by_name.setdefault(key.name, []).append(key)
    paths = [fragments[key].path_routes for key in keys]
    last = [build_bare_name_route(name, same, gateway_url) for name, same in by_name.items()]
    rest = map(render_json, [*last, build_not_found_route()])
    return _configuration(ROUTE_CONFIG_NAME, [fragments[key].virtual_hosts for key in keys], [*paths, *rest])


def build_pin_configuration(fragments: Mapping[RouteKey, Fragment]) -> str:
    """Return the RouteConfiguration of the pinning port."""
    keys = sorted(fragments)
    paths = [*(fragments[key].pin_routes for key in keys), render_json(build_not_found_route())]
    return _configuration(PIN_CONFIG_NAME, [fragments[key].pin_host for key in keys], paths)


def _configuration(name: str, hosts: list[str], any_host_routes: list[str]) -> str:
    head = {"name": "any", "domains": ["*"], "retry_policy": retry_policy()}
    any_host = f'{render_json(head)[:-1]},"routes":[{_join(any_host_routes)}]}}'
    start = render_json({"@type": _ROUTE_CONFIG_TYPE, "name": name})
    return f'{start[:-1]},"virtual_hosts":[{_join([*hosts, any_host])}]}}'


def clusters_of(fragments: Mapping[RouteKey, Fragment]) -> dict[str, str]:
    """Return all clusters by name."""
    return {name: cluster for key in sorted(fragments) for name, cluster in fragments[key].clusters.items()}


def has_endpoints(cluster: str) -> bool:
    """Whether a rendered cluster has anybody to send requests to."""
    return '"lb_endpoints":[]' not in cluster


def render_response(resources: Iterable[str], version: str) -> bytes:
    """Return a DiscoveryResponse as Envoy reads it from a file."""
    return f'{{"version_info":{json.dumps(version)},"resources":[{_join(resources)}]}}'.encode()


def render_json(value: dict[str, Any]) -> str:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":"))


def digest(resources: Iterable[str]) -> str:
    """Return a short digest that names a configuration in logs and in Envoy's version."""
    return hashlib.sha256(_join(resources).encode()).hexdigest()[:12]


def _join(parts: Iterable[str]) -> str:
    return ",".join(part for part in parts if part)
