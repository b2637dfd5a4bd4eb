"""The ModelRoute: what the gateway must do now."""

from collections.abc import Mapping
from dataclasses import dataclass

from perennial_api.labels import API_VERSION
from perennial_api.modeldeployment.server import Server
from perennial_api.modelrevision import RevisionRuntime
from perennial_api.modelroute import Limits, Mirror, ModelRoute, ModelRouteSpec, RouteRevision, Sticky

from perennial.manifests.context import Manifest, Owner, build_metadata
from perennial.rollout.decision import Decision

__all__ = ["RouteWish", "build_route"]


@dataclass(frozen=True, slots=True)
class RouteWish:
    """What the gateway is to do.

    Attributes
    ----------
    weights
        Share of each revision in percent, in the route's order.
    mirror, preview, sticky
        What stands beside them.
    """

    weights: Mapping[str, int]
    mirror: Mirror | None = None
    preview: str | None = None
    sticky: Sticky | None = None

    @classmethod
    def of(cls, decision: Decision) -> "RouteWish":
        """Read it from a decision. What isn't routed, having no pods yet, gets no copies and no preview either."""
        weights, mirror, preview = decision.weights, decision.mirror, decision.preview
        return cls(
            weights,
            mirror if mirror and mirror.revision in weights else None,
            preview if preview in weights else None,
            decision.sticky,
        )


def build_route(
    owner: Owner, wish: RouteWish, runtimes: Mapping[str, RevisionRuntime], server: Server
) -> Manifest:
    """Build the whole route from the decision each time; nothing of an older one is kept."""
    budget = server.latency_budget
    spec = ModelRouteSpec(
        revisions=tuple(
            RouteRevision(
                name=name,
                service=name,
                port=runtimes[name].port,
                grpc_port=runtimes[name].grpc_port,
                weight_percent=weight,
                log=runtimes[name].log,
            )
            for name, weight in wish.weights.items()
        ),
        sticky=wish.sticky,
        mirror=wish.mirror,
        preview=wish.preview,
        latency_budget_ms=round(budget.seconds * 1000) if budget else None,
        limits=Limits(timeout=server.request_timeout, max_body=server.max_request_size),
    )
    return {
        "apiVersion": API_VERSION,
        "kind": ModelRoute.__name__,
        "metadata": build_metadata(owner, owner.deployment),
        "spec": spec.to_api(),
    }
