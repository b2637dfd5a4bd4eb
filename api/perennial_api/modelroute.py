"""ModelRoute: what the gateway must do now for one deployment."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from perennial_api.base import Model, Resource, Rule
from perennial_api.durations import Duration
from perennial_api.gateway_log import RevisionLog
from perennial_api.labels import API_VERSION
from perennial_api.request_limits import body_rule, fits_body, fits_timeout, timeout_rule
from perennial_api.types import Int, KeyedBy, Name, Percent, PositiveDuration, Quantity

__all__ = [
    "GATEWAY_HEADERS",
    "Limits",
    "Mirror",
    "ModelRoute",
    "ModelRouteSpec",
    "Place",
    "RouteRevision",
    "Sticky",
    "StickyType",
]

# Headers that the gateway drops or sets itself: none of them could tell clients apart.
GATEWAY_HEADERS = (
    "x-model-revision",
    "x-prediction-id",
    "x-perennial-shadow",
    "x-perennial-client-key",
    "x-perennial-latency-budget",
    "x-perennial-pin",
    "x-perennial-capture",
)


class RouteRevision(Model):
    """One revision that may get requests."""

    name: Name
    """Name of the ModelRevision, answered as x-model-revision."""
    service: Name
    """Name of the Service whose endpoints serve it."""
    port: Annotated[Int, Field(ge=1, le=65535)]
    """Port of the pods behind the Service."""
    grpc_port: Annotated[Int, Field(ge=1, le=65535)] | None = None
    """Port on which the same pods answer gRPC; left out, they answer none."""
    weight_percent: Percent
    """Share of the requests, in percent; 0 keeps the connections warm without traffic."""
    log: RevisionLog | None = None
    """What the gateway records of its answers; left out, nothing: its servers keep the log, or nobody does."""


class StickyType(StrEnum):
    """What tells clients apart."""

    HEADER = "Header"
    COOKIE = "Cookie"


class Place(Model):
    """A part of all clients."""

    revision: Name
    """Name of the revision that serves it while it has a share; it may be gone."""
    percent: Annotated[Int, Field(ge=1, le=100)]
    """How large a part, in percent, 1 to 100."""


def _name_can_be_told(sticky: "Sticky") -> bool:
    name = sticky.name.lower()
    return sticky.type is StickyType.COOKIE or not (name.startswith("x-envoy-") or name in GATEWAY_HEADERS)


class Sticky(Model):
    """Send each client to the same revision as long as the weights allow it."""

    rules = (
        Rule(
            cel="!has(self.ttl) || self.type == 'Cookie'",
            message="sticky.ttl belongs to type Cookie: the gateway issues no headers",
            holds=lambda self: self.ttl is None or self.type is StickyType.COOKIE,
        ),
        Rule(
            cel="self.type == 'Cookie' || !(self.name.lowerAscii().startsWith('x-envoy-')"
            f" || self.name.lowerAscii() in {list(GATEWAY_HEADERS)})",
            message="sticky.name is a header that the gateway drops or sets itself: choose another",
            holds=_name_can_be_told,
        ),
        Rule(
            cel="self.places.size() == 0 || self.places.map(p, p.percent).sum() == 100",
            message="sticky.places must sum to 100 percent, all clients",
            holds=lambda self: not self.places or sum(place.percent for place in self.places) == 100,  # noqa: PLR2004
        ),
    )

    type: StickyType
    """Header goes by a request header that clients send, Cookie by a cookie that the gateway issues where it is
    missing."""
    name: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    """Name of the header or the cookie."""
    salt: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
    """Shuffles the clients: another salt gives each of them a new, independent draw."""
    ttl: PositiveDuration | None = None
    """How long a client keeps its cookie, at least 1s; left out, until the browser is closed."""
    places: Annotated[tuple[Place, ...], Field(max_length=20)] = ()
    """The parts of all clients in order, which never change in an experiment. Whose revision has no share, or isn't
    there any more, is served by the revision of the last place, and no other client moves. Left out, each revision's
    weight is its place."""


class Mirror(Model):
    """Copy requests to a revision whose answers nobody sees."""

    revision: Name
    """Name of the revision that gets the copies; one of revisions."""
    percent: Annotated[Int, Field(ge=1, le=100)] = 100
    """Share of the requests that is copied, in percent, 1 to 100."""


class Limits(Model):
    """What one request may cost."""

    rules = (
        Rule(
            cel=timeout_rule("timeout"),
            message="limits.timeout is longer than 5m: lower it",
            holds=lambda self: fits_timeout(self.timeout),
        ),
        Rule(
            cel=body_rule("maxBody"),
            message="limits.maxBody must be between 1Ki and 64Mi: a whole body is held in the gateway's memory",
            holds=lambda self: fits_body(self.max_body),
        ),
    )

    timeout: PositiveDuration = Duration("60s")
    """How long a request may take until its last byte is answered, 1s to 5m; then it is answered 504."""
    max_body: Quantity = "16Mi"
    """Largest request body, 1Ki to 64Mi; a larger one is answered 413."""


class ModelRouteSpec(Model):
    """Where the requests go."""

    rules = (
        Rule(
            cel="self.revisions.map(r, r.weightPercent).sum() == 100",
            message="the weights of all revisions must sum to 100 percent",
            holds=lambda self: sum(revision.weight_percent for revision in self.revisions) == 100,  # noqa: PLR2004
        ),
        Rule(
            cel="!has(self.mirror) || self.revisions.exists(r, r.name == self.mirror.revision)",
            message="mirror.revision must be the name of one of the revisions",
            holds=lambda self: self.mirror is None or self.has_revision(self.mirror.revision),
        ),
        Rule(
            cel="!has(self.preview) || self.revisions.exists(r, r.name == self.preview)",
            message="preview must be the name of one of the revisions",
            holds=lambda self: self.preview is None or self.has_revision(self.preview),
        ),
        Rule(
            cel="!has(self.sticky) || self.sticky.places.size() == 0"
            " || self.revisions.exists(r, r.name == self.sticky.places[self.sticky.places.size() - 1].revision)",
            message="the last of sticky.places must be of one of the revisions: it serves what the others don't",
            holds=lambda self: (
                self.sticky is None
                or not self.sticky.places
                or self.has_revision(self.sticky.places[-1].revision)
            ),
        ),
    )

    revisions: Annotated[tuple[RouteRevision, ...], Field(min_length=1, max_length=20), KeyedBy("name")]
    """The revisions that may get requests, 1 to 20. Where the route is sticky their order matters: put the one whose
    weight grows first and keep the order, so that a change of weight moves no other client."""
    sticky: Sticky | None = None
    """Bind clients to revisions. Left out, each request is drawn anew."""
    mirror: Mirror | None = None
    """Copy requests to a revision whose answers are thrown away."""
    preview: Name | None = None
    """Name of the revision that answers on the preview address; one of revisions."""
    latency_budget_ms: Annotated[Int, Field(ge=1, le=60_000)] | None = None
    """Milliseconds above which an answer counts as slow, 1 to 60000. Left out, none does."""
    limits: Limits = Limits()
    """What one request may cost."""

    def has_revision(self, name: str) -> bool:
        """Return whether one of the revisions has this name."""
        return any(revision.name == name for revision in self.revisions)


class ModelRoute(Resource):
    """What the gateway does for one ModelDeployment. Written by the operator; it has the ModelDeployment's name."""

    api_version: Literal["perennial.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelRoute"] = "ModelRoute"
    spec: ModelRouteSpec
    """Where the requests go."""
