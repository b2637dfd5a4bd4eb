"""Resolve ModelRoutes and EndpointSlices, as the API server stores them, into routes with endpoints."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from perennial_api import ModelRoute
from perennial_api.gateway_log import RevisionLog
from perennial_api.labels import LABEL_DEPLOYMENT, LABEL_MANAGED_BY, MANAGED_BY
from perennial_api.modelroute import ModelRouteSpec, Sticky, StickyType
from perennial_api.quantities import parse_quantity
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from perennial_gateway.model import (
    Backend,
    Endpoint,
    InvalidResource,
    RecordedPart,
    Route,
    RouteKey,
    Snapshot,
    Stickiness,
)

LABEL_SERVICE = "kubernetes.io/service-name"
LABEL_SLICE_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SLICE_CONTROLLER = "endpointslice-controller.k8s.io"
SLICE_SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_SLICE_MANAGED_BY}={SLICE_CONTROLLER}"

_ServiceKey = tuple[str, str, str]  # namespace, deployment, service
_Addresses = Mapping[_ServiceKey, set[str]]


class _Stored(BaseModel):
    """The part of an object that is read here; the API server has checked the rest."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class _Conditions(_Stored):
    ready: bool | None = None


class _SliceEndpoint(_Stored):
    addresses: tuple[str, ...]
    conditions: _Conditions = _Conditions()


class _Owner(_Stored):
    kind: str
    name: str
    controller: bool | None = None


class _Metadata(_Stored):
    namespace: str
    labels: Mapping[str, str] = Field(default_factory=dict)
    owner_references: tuple[_Owner, ...] = ()


class _EndpointSlice(_Stored):
    metadata: _Metadata
    address_type: str
    endpoints: tuple[_SliceEndpoint, ...] | None = None

    def service(self) -> _ServiceKey | None:
        """Return the Service that it stands for, or None if it doesn't count.

        The endpoint-slice controller copies a Service's labels and makes it the owner; a slice made
        by anybody else could send a model's requests anywhere.
        """
        labels = self.metadata.labels
        service = labels.get(LABEL_SERVICE, "")
        ours = (
            labels.get(LABEL_MANAGED_BY) == MANAGED_BY
            and labels.get(LABEL_SLICE_MANAGED_BY) == SLICE_CONTROLLER
            and any(
                o.kind == "Service" and o.controller and o.name == service
                for o in self.metadata.owner_references
            )
        )
        if not ours or self.address_type not in {"IPv4", "IPv6"}:
            return None
        return self.metadata.namespace, labels.get(LABEL_DEPLOYMENT, ""), service

    def ready_addresses(self) -> set[str]:
        """Return the addresses that may get requests; an unknown condition counts as ready, as kube-proxy has it."""
        return {
            address
            for endpoint in self.endpoints or ()
            if endpoint.conditions.ready is not False
            for address in endpoint.addresses[:1]
        }


def build_snapshot(routes: Iterable[dict[str, Any]], slices: Iterable[dict[str, Any]]) -> Snapshot:
    """Return all routes with the ready endpoints of their revisions.

    Parameters
    ----------
    routes, slices
        ModelRoutes and EndpointSlices as the API server returns them. What can't be read of the
        first is in `Snapshot.invalid`; of the second, ignored.
    """
    addresses = _addresses_by_service(slices)
    valid: dict[RouteKey, Route] = {}
    invalid: dict[RouteKey, InvalidResource] = {}
    for body in routes:
        metadata = body.get("metadata", {})
        key = RouteKey(metadata.get("namespace", ""), metadata.get("name", ""))
        uid, generation = metadata.get("uid", ""), metadata.get("generation", 0)
        try:
            spec = ModelRoute.model_validate(body).spec
        except ValidationError as error:
            invalid[key] = InvalidResource(uid, generation, _first_problem(error))
            continue
        valid[key] = _resolve(key, uid, generation, spec, addresses)
    return Snapshot(valid, invalid)


def _resolve(key: RouteKey, uid: str, generation: int, spec: ModelRouteSpec, addresses: _Addresses) -> Route:
    backends = tuple(
        Backend(
            revision=r.name,
            weight_percent=r.weight_percent,
            endpoints=tuple(
                Endpoint(address, r.port)
                for address in sorted(addresses.get((key.namespace, key.name, r.service), ()))
            ),
            grpc_port=r.grpc_port,
            log=_recorded(r.log),
        )
        for r in spec.revisions
    )
    return Route(
        key=key,
        uid=uid,
        generation=generation,
        backends=backends,
        sticky=_stickiness(spec.sticky),
        mirror=spec.mirror.revision if spec.mirror else None,
        mirror_percent=spec.mirror.percent if spec.mirror else 100,
        preview=spec.preview,
        latency_budget_ms=spec.latency_budget_ms,
        timeout_s=spec.limits.timeout.seconds,
        max_body_bytes=int(parse_quantity(spec.limits.max_body)),
    )


def _recorded(log: RevisionLog | None) -> RecordedPart | None:
    if log is None:
        return None
    return RecordedPart(log.percent, log.mode.has_inputs, log.mode.has_outputs, log.exclude)


def _stickiness(sticky: Sticky | None) -> Stickiness | None:
    if sticky is None:
        return None
    return Stickiness(
        name=sticky.name if sticky.type is StickyType.COOKIE else sticky.name.lower(),
        salt=sticky.salt,
        is_cookie=sticky.type is StickyType.COOKIE,
        ttl_s=int(sticky.ttl.seconds) if sticky.ttl else None,
        places=tuple((place.revision, place.percent) for place in sticky.places),
    )


def _addresses_by_service(slices: Iterable[dict[str, Any]]) -> dict[_ServiceKey, set[str]]:
    result: dict[_ServiceKey, set[str]] = defaultdict(set)
    for body in slices:
        try:
            endpoint_slice = _EndpointSlice.model_validate(body)
        except ValidationError:
            continue
        if service := endpoint_slice.service():
            result[service] |= endpoint_slice.ready_addresses()
    return result


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"{where}: {problem['msg']}." if where else f"{problem['msg']}."
