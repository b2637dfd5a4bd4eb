"""What a pass has seen, reduced to what decisions need; read-only facts without API objects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from perennial_api.arms import Arm
from perennial_api.modelrevision import Origin, RevisionRole

__all__ = [
    "Failure",
    "Observed",
    "Reading",
    "RevisionView",
    "RouteView",
    "RouterCounters",
    "RouterView",
    "ShadowCounters",
]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why pods of a revision don't start.

    Attributes
    ----------
    reason, message
        The server's own words from its termination log, or the kubelet's.
    exit_code
        Of the last container that ended, or None.
    at
        When it ended, or None.
    """

    reason: str
    message: str = ""
    exit_code: int | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RevisionView:
    """One revision and what runs of it.

    Attributes
    ----------
    ready_endpoints
        Ready addresses of its Service, as the gateway sees them.
    running
        Whether it has a Deployment, a Service or a pod.
    """

    name: str
    model_uri: str
    digest: str
    model_hash: str
    inputs_hash: str
    port: int
    origin: Origin = Origin.SPEC
    retraining_run: str | None = None
    role: RevisionRole = RevisionRole.CANDIDATE
    created_at: datetime | None = None
    stable_at: datetime | None = None
    ready_endpoints: int = 0
    running: bool = False
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class RouteView:
    """The ModelRoute as stored: its generation and the weight, in percent, of each revision."""

    uid: str
    generation: int
    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ShadowCounters:
    """One router's counters of the copied requests that one revision got: finished, failed, and slow ones."""

    requests: int = 0
    errors: int = 0
    slow: int = 0


@dataclass(frozen=True, slots=True)
class RouterCounters:
    """One router's counters of one revision; copied and pinned requests are in none of its own.

    Attributes
    ----------
    requests, errors, active
        Finished requests, those answered 5xx or not at all, and those under way.
    slow, invalid
        Finished requests above the route's latency budget, and those answered 400 or 422.
    users, failing_users
        Where the route is sticky: distinct clients since its salt was set, and those with at least one 5xx.
    shadow
        Of copied requests.
    """

    requests: int
    errors: int
    active: int = 0
    slow: int = 0
    invalid: int = 0
    users: int = 0
    failing_users: int = 0
    shadow: ShadowCounters = ShadowCounters()


@dataclass(frozen=True, slots=True)
class RouterView:
    """One gateway pod.

    Attributes
    ----------
    ready
        Whether Kubernetes sends it traffic.
    reachable
        Whether its agent answered; the following fields mean nothing otherwise.
    epoch
        Changes whenever its counters start at zero.
    route_uid, route_generation, state, message
        Which version of this deployment's ModelRoute it has applied: `Applied`, `Pending`, `Quarantined`, or empty
        when it knows of none.
    counters
        By revision name.
    """

    pod: str
    ready: bool
    reachable: bool = False
    epoch: str = ""
    route_uid: str = ""
    route_generation: int = 0
    state: str = ""
    message: str = ""
    counters: Mapping[str, RouterCounters] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """What Prometheus answered to one metric's query: a finite number, or why there is none and what to do."""

    value: float | None = None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that `machine.step` decides on beside spec, status and time.

    Attributes
    ----------
    target
        The revision that the spec asks for, or None when that can't be honoured.
    replicas
        How many endpoints of a canary must be ready before it gets its first requests.
    by_client
        Whether each client keeps its revision, so that the gate counts clients instead of requests.
    arms
        The observer's counts by revision.
    readings
        Answers of Prometheus by name of the metric; one that wasn't asked in this pass is left out.
    """

    revisions: Mapping[str, RevisionView]
    target: str | None
    route: RouteView | None = None
    routers: tuple[RouterView, ...] = ()
    replicas: int = 1
    by_client: bool = False
    arms: Mapping[str, Arm] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)

    def ready_endpoints(self, revision: str | None) -> int:
        """Return how many ready endpoints a revision has; 0 for one that isn't there."""
        view = self.revisions.get(revision or "")
        return view.ready_endpoints if view else 0

    @property
    def ready_routers(self) -> tuple[RouterView, ...]:
        """The routers that take traffic."""
        return tuple(router for router in self.routers if router.ready)

    def is_applied(self, weights: Mapping[str, int]) -> bool:
        """Whether the stored route gives these shares and every ready router, at least one, has loaded it."""
        route = self.route
        if route is None or any(route.weights.get(name, 0) != weight for name, weight in weights.items()):
            return False
        return bool(self.ready_routers) and all(_has_loaded(r, route) for r in self.ready_routers)

    def has_left(self, revision: str) -> bool:
        """Whether no router can send the revision a new request: its weight is 0 everywhere, or there is no gateway."""
        route = self.route
        if route is None or not self.routers:
            return True
        if route.weights.get(revision, 0) > 0:
            return False
        return bool(self.ready_routers) and all(_has_loaded(r, route) for r in self.ready_routers)

    def active_requests(self, revision: str) -> int:
        """Requests under way to a revision, over all routers that answered."""
        return sum(r.counters[revision].active for r in self.routers if revision in r.counters)


def _has_loaded(router: RouterView, route: RouteView) -> bool:
    same = not router.route_uid or not route.uid or router.route_uid == route.uid
    return (
        router.reachable
        and same
        and router.state == "Applied"
        and router.route_generation >= route.generation
    )
