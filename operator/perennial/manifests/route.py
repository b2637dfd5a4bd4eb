"""The ModelRoute: what the gateway must do now."""

from collections.abc import Mapping

from perennial_api.labels import API_VERSION
from perennial_api.modelroute import ModelRoute, ModelRouteSpec, RouteRevision

from perennial.manifests.context import Manifest, Owner, build_metadata

__all__ = ["build_route"]


def build_route(owner: Owner, weights: Mapping[str, int], ports: Mapping[str, int]) -> Manifest:
    """Build the whole route from the decision each time; nothing of an older one is kept."""
    spec = ModelRouteSpec(
        revisions=tuple(
            RouteRevision(name=name, service=name, port=ports[name], weight_percent=weight)
            for name, weight in weights.items()
        )
    )
    return {
        "apiVersion": API_VERSION,
        "kind": ModelRoute.__name__,
        "metadata": build_metadata(owner, owner.deployment),
        "spec": spec.to_api(),
    }
