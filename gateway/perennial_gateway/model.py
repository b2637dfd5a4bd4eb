"""What the agent knows of a route, free of Kubernetes' and Envoy's spelling."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from perennial_gateway.errors import InvalidRoute

TOTAL_WEIGHT = 100

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
class Backend:
    """One revision of a route: its share of requests in percent, and its ready pods."""

    revision: str
    weight_percent: int
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """A ModelRoute with its endpoints resolved."""

    key: RouteKey
    uid: str
    generation: int
    backends: tuple[Backend, ...]

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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All routes at one instant; `invalid` holds those that can't even be read, with the reason."""

    routes: Mapping[RouteKey, Route] = field(default_factory=dict)
    invalid: Mapping[RouteKey, InvalidResource] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InvalidResource:
    """A ModelRoute that can't be read."""

    uid: str
    generation: int
    message: str


def effective_weights(backends: tuple[Backend, ...]) -> dict[str, int]:
    """Return each revision's weight once those without a ready endpoint are left out.

    Empty when no revision of positive weight has an endpoint: the route then answers 503 itself.
    A revision that loses its last pod must not cost its share of requests until the operator has
    seen it, so its weight falls to the others in proportion.

    >>> effective_weights((Backend("a", 90, (Endpoint("10.0.0.1", 80),)), Backend("b", 10)))
    {'a': 90, 'b': 0}
    """
    weights = {b.revision: b.weight_percent if b.endpoints else 0 for b in backends}
    return weights if any(weights.values()) else {}
