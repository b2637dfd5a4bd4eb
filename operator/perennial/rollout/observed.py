"""What a pass has seen, reduced to what decisions need; read-only facts without API objects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from perennial_api.arms import Arm
from perennial_api.modeldeployment.warmup_status import WarmUp
from perennial_api.modelrevision import Origin, RevisionRole
from perennial_api.modelroute import Mirror

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
    model_hash, inputs_hash
        The wish that it was made for.
    consumed_model_hash, consumed_inputs_hash
        The wish in force when it was last chosen otherwise, by undo or as an experiment's winner: it answers that, too.
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
    consumed_model_hash: str | None = None
    consumed_inputs_hash: str | None = None
    secret: str | None = None

    @property
    def model_hash_in_force(self) -> str:
        """Hash of the `spec.model` that this revision stands for: another one asks for another revision."""
        return self.consumed_model_hash or self.model_hash

    def answers(self, model_hash: str, inputs_hash: str) -> bool:
        """Whether this is what a wish asks for."""
        wishes = ((self.model_hash, self.inputs_hash), (self.consumed_model_hash, self.consumed_inputs_hash))
        return (model_hash, inputs_hash) in wishes


@dataclass(frozen=True, slots=True)
class RouteView:
    """The ModelRoute as stored: its generation, the weight of each revision in percent, and what stands beside them."""

    uid: str
    generation: int
    weights: Mapping[str, int]
    mirror: Mirror | None = None
    preview: str | None = None


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
    """What Prometheus answered to one metric's query: a finite number, or why there is none and what to do.

    Attributes
    ----------
    at
        When it was asked, by which one answer is told from the next; None is now.
    """

    value: float | None = None
    reason: str = ""
    message: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that `machine.step` decides on beside spec, status and time.

    Attributes
    ----------
    target
        The revision that the spec asks for, or None when that can't be honoured.
    deployment
        Name of the ModelDeployment, for messages that say which command to give.
    replicas, needed, needed_by_share
        How many endpoints of a revision must be ready before its weight may rise, how many where `needed` says it, and
        for each share from 0 to 100 percent where the number of pods follows the load.
    warm_up_required, warm_up, refuse_too_slow
        Whether a canary's latency is to be measured before it gets a request, the latest measurement, and whether one
        above the budget rolls it back.
    by_client
        Whether each client keeps its revision, so that the gate counts clients instead of requests.
    arms
        The observer's counts by revision.
    readings
        The latest answers of Prometheus by name of the metric; one that wasn't asked yet is left out.
    """

    revisions: Mapping[str, RevisionView]
    target: str | None
    route: RouteView | None = None
    routers: tuple[RouterView, ...] = ()
    replicas: int = 1
    deployment: str = ""
    needed: Mapping[str, int] = field(default_factory=dict)
    needed_by_share: tuple[int, ...] = ()
    warm_up_required: bool = False
    warm_up: WarmUp | None = None
    refuse_too_slow: bool = False
    by_client: bool = False
    arms: Mapping[str, Arm] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)

    def ready_endpoints(self, revision: str | None) -> int:
        """Return how many ready endpoints a revision has; 0 for one that isn't there."""
        view = self.revisions.get(revision or "")
        return view.ready_endpoints if view else 0

    def needed_for(self, revision: str, share_percent: int | None = None) -> int:
        """Return how many endpoints must be ready for a share, or for the next one: one at the very least."""
        if share_percent is not None and self.needed_by_share:
            return max(1, self.needed_by_share[share_percent])
        return max(1, self.needed.get(revision, self.replicas))

    def has_needed(self, revision: str, share_percent: int | None = None) -> bool:
        """Whether a revision has the ready endpoints that a higher weight needs."""
        return self.ready_endpoints(revision) >= self.needed_for(revision, share_percent)

    @property
    def ready_routers(self) -> tuple[RouterView, ...]:
        """The routers that take traffic."""
        return tuple(router for router in self.routers if router.ready)

    def is_applied(self, weights: Mapping[str, int]) -> bool:
        """Whether the stored route gives these shares and every ready router, at least one, has loaded it."""
        route = self.route
        if route is None or any(route.weights.get(name, 0) != weight for name, weight in weights.items()):
            return False
        return self.is_loaded()

    def is_loaded(self) -> bool:
        """Whether every ready router, at least one, has loaded the stored route."""
        return self.route is not None and bool(self.ready_routers) and not self.lagging_routers()

    def lagging_routers(self) -> tuple[RouterView, ...]:
        """The ready routers that have not loaded the stored route."""
        route = self.route
        return tuple(r for r in self.ready_routers if route is None or not _has_loaded(r, route))

    def has_left(self, revision: str) -> bool:
        """Whether no router can send the revision a new request: its weight is 0 everywhere, or there is no gateway."""
        route = self.route
        if route is None or not self.routers:
            return True
        return route.weights.get(revision, 0) == 0 and self.is_loaded()

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
