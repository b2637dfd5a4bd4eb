"""ModelRoute: what the gateway must do now for one deployment."""

from typing import Annotated, Literal

from pydantic import Field

from perennial_api.base import Model, Resource, Rule
from perennial_api.labels import API_VERSION
from perennial_api.types import Int, KeyedBy, Name, Percent

__all__ = ["ModelRoute", "ModelRouteSpec", "RouteRevision"]


class RouteRevision(Model):
    """One revision that may get requests."""

    name: Name
    """Name of the ModelRevision, answered as x-model-revision."""
    service: Name
    """Name of the Service whose endpoints serve it."""
    port: Annotated[Int, Field(ge=1, le=65535)]
    """Port of the pods behind the Service."""
    weight_percent: Percent
    """Share of the requests, in percent; 0 keeps the connections warm without traffic."""


class ModelRouteSpec(Model):
    """Where the requests go."""

    rules = (
        Rule(
            cel="self.revisions.map(r, r.weightPercent).sum() == 100",
            message="the weights of all revisions must sum to 100 percent",
            holds=lambda self: sum(revision.weight_percent for revision in self.revisions) == 100,  # noqa: PLR2004
        ),
    )

    revisions: Annotated[tuple[RouteRevision, ...], Field(min_length=1, max_length=20), KeyedBy("name")]
    """The revisions that may get requests, 1 to 20."""


class ModelRoute(Resource):
    """What the gateway does for one ModelDeployment. Written by the operator; it has the ModelDeployment's name."""

    api_version: Literal["perennial.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelRoute"] = "ModelRoute"
    spec: ModelRouteSpec
    """Where the requests go."""
