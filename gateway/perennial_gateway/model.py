"""What the agent knows of a route, free of Kubernetes' and Envoy's spelling."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from perennial_gateway.errors import InvalidRoute

TOTAL_WEIGHT = 100
DEFAULT_TIMEOUT_S = 60.0
DEFAULT_MAX_BODY_BYTES = 16 * 2**20

_TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class RouteKey:
    """Namespace and name of a ModelDeployment, and so of its ModelRoute."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """Address and port of one ready pod."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class RecordedPart:
    """What the gateway records of a revision's answers, as the route says.

    Attributes
    ----------
    percent
        Share of the predictions.
    has_inputs, has_outputs
        Which sides of them.
    exclude
        Input columns that never leave; in order, since pods compare digests of what they know.
    """

    percent: int = 100
    has_inputs: bool = True
    has_outputs: bool = True
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Backend:
    """One revision of a route: its share of requests in percent, and its ready pods.

    Attributes
    ----------
    grpc_port
        Where its pods answer gRPC; None where they don't.
    log
        What the gateway records; None where its own servers keep the log, or nobody does.
    """

    revision: str
    weight_percent: int
    endpoints: tuple[Endpoint, ...] = ()
    grpc_port: int | None = None
    log: RecordedPart | None = None

    def grpc_side(self) -> Backend:
        """Return the same pods where they answer gRPC; none if they don't."""
        port = self.grpc_port
        return replace(
            self, endpoints=tuple(Endpoint(e.address, port) for e in self.endpoints) if port else ()
        )


@dataclass(frozen=True, slots=True)
class Stickiness:
    """How a route tells clients apart.

    Attributes
    ----------
    name
        Of the header, or of the cookie.
    salt
        Enters every hash, so that another one draws anew for each client.
    is_cookie
        Whether the gateway issues the key itself.
    ttl_s
        Of the cookie; None until the browser is closed.
    places
        Parts of all clients in order, by revision; empty where each revision's weight is its place.
    """

    name: str
    salt: str
    is_cookie: bool = False
    ttl_s: int | None = None
    places: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """A ModelRoute with its endpoints resolved.

    Attributes
    ----------
    backends
        In the order of the spec, which the split of sticky clients rests on.
    mirror, mirror_percent
        Revision that gets copies, and of which share of the requests.
    preview
        Revision that answers on the preview address.
    latency_budget_ms
        Above it an answer counts as slow; None counts none.
    is_grpc
        Whether this is the gRPC side of a route; see `grpc_side`.
    """

    key: RouteKey
    uid: str
    generation: int
    backends: tuple[Backend, ...]
    sticky: Stickiness | None = None
    mirror: str | None = None
    mirror_percent: int = 100
    preview: str | None = None
    latency_budget_ms: int | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES
    is_grpc: bool = False

    def grpc_side(self) -> Route:
        """Return the route as gRPC goes it: the same shares, clients and limits over the pods' gRPC ports.

        A revision that doesn't speak gRPC has no server on that side, and others stand in for it as for one whose pods
        aren't ready.
        """
        return replace(self, backends=tuple(b.grpc_side() for b in self.backends), is_grpc=True)

    def has_server(self, revision: str) -> bool:
        """Return whether a revision of this route has a ready pod."""
        return any(b.revision == revision and b.endpoints for b in self.backends)

    def logs(self, revision: str) -> bool:
        """Return whether the gateway records what a revision answers."""
        return any(b.revision == revision and b.log for b in self.backends)

    def has_same_content(self, other: Route) -> bool:
        """Return whether Envoy would be told the same: generations change for less."""
        return replace(self, uid="", generation=0) == replace(other, uid="", generation=0)

    def validate(self) -> None:
        """Refuse what could break the configuration of other routes.

        Raises
        ------
        InvalidRoute
            With a sentence that names the field.
        """
        for value in (self.key.namespace, self.key.name, *(b.revision for b in self.backends)):
            if not _DNS_LABEL.fullmatch(value):
                raise InvalidRoute(f"{value!r} is not a DNS label")
        revisions = [b.revision for b in self.backends]
        if not revisions or len(set(revisions)) != len(revisions):
            raise InvalidRoute("spec.revisions must hold at least one revision, each once")
        weights = [b.weight_percent for b in self.backends]
        if min(weights) < 0 or sum(weights) != TOTAL_WEIGHT:
            raise InvalidRoute("the weights of spec.revisions must be between 0 and 100 and sum to 100")
        if not {self.mirror or revisions[0], self.preview or revisions[0]} <= set(revisions):
            raise InvalidRoute("spec.mirror and spec.preview must name one of spec.revisions")
        if self.sticky and not (_TOKEN.fullmatch(self.sticky.name) and _TOKEN.fullmatch(self.sticky.salt)):
            raise InvalidRoute("name and salt of spec.sticky must be of letters, digits, '.', '_' and '-'")
        places = self.sticky.places if self.sticky else ()
        if places and (sum(part for _, part in places) != TOTAL_WEIGHT or places[-1][0] not in revisions):
            raise InvalidRoute("spec.sticky.places must sum to 100, and the last be of one of spec.revisions")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All routes at one instant; `invalid` holds those that can't even be read, with the reason."""

    routes: Mapping[RouteKey, Route] = field(default_factory=dict)
    invalid: Mapping[RouteKey, InvalidResource] = field(default_factory=dict)

    def digest(self) -> str:
        """Return what is equal for two pods that know the same routes and endpoints."""
        known = [*sorted(self.routes.items()), *sorted(self.invalid.items())]
        return hashlib.blake2b(repr(known).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class InvalidResource:
    """A ModelRoute that can't be read."""

    uid: str
    generation: int
    message: str


def seat_clients(route: Route) -> tuple[Backend, ...]:
    """Return who serves which part of the clients that are told apart, in order.

    Places never change while an experiment runs. What a revision without a share leaves goes to the last place's
    revision, so that the clients of all other places stay where they are.
    """
    if route.sticky is None or not route.sticky.places:
        return route.backends
    sharing = {b.revision: b for b in route.backends if b.weight_percent}
    last = next(b for b in route.backends if b.revision == route.sticky.places[-1][0])
    return tuple(
        replace(sharing.get(revision, last), weight_percent=part) for revision, part in route.sticky.places
    )


def build_slots(backends: tuple[Backend, ...]) -> tuple[tuple[str, int], ...]:
    """Return who gets which share, in order; the shares sum to 100 whatever happens.

    A sticky client's hash falls into one slot, so order and total must never change: the slot of a
    revision without a ready pod stays and is served by the heaviest of the others, and no other
    client moves. Empty when no revision of positive weight has a pod: the route then answers 503.

    >>> build_slots((Backend("b", 10), Backend("a", 90, (Endpoint("10.0.0.1", 80),))))
    (('a', 10), ('a', 90))
    """
    alive = [b for b in backends if b.endpoints and b.weight_percent]
    if not alive:
        return ()
    # The last of equals: the stable revision stands behind its canary.
    heir = max(reversed(alive), key=lambda b: b.weight_percent).revision
    return tuple((b.revision if b.endpoints else heir, b.weight_percent) for b in backends)
