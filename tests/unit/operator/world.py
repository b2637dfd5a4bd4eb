"""A small world for the state machine: routers that load routes, pods that are ready, traffic that is counted."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from perennial.rollout.decision import Decision
from perennial.rollout.machine import step
from perennial.rollout.observed import Observed, RevisionView, RouterCounters, RouterView, RouteView
from perennial.rollout.settings import RolloutSettings
from perennial_api.modeldeployment.rollout import Rollout
from perennial_api.modeldeployment.status import RolloutStatus

START = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = RolloutSettings(drain_timeout_s=300.0, verify_interval_s=0.5)


def rollout_spec(*steps: int | str, **analysis: Any) -> Rollout:
    """Build a rollout: numbers are weights, strings are pauses."""
    base: dict[str, Any] = {
        "interval": "1s",
        "initialDelay": "0s",
        "minSamples": 100,
        "bake": "5s",
        "progressDeadline": "10m",
    }
    return Rollout.model_validate(
        {
            "canary": {
                "steps": [
                    {"setWeight": s} if isinstance(s, int) else {"pause": {"duration": s}} for s in steps
                ]
            },
            "analysis": base | analysis,
        }
    )


def revision(name: str, **changes: Any) -> RevisionView:
    """Build a revision that runs and has one ready endpoint."""
    base = RevisionView(
        name=name,
        model_uri=f"perennial://sha256:{name[-1] * 64}",
        digest=f"sha256:{name[-1] * 64}",
        model_hash="abc",
        inputs_hash=name,
        port=3000,
        ready_endpoints=1,
        running=True,
    )
    return replace(base, **changes)


@dataclass
class World:
    """Everything outside the machine; `turn` does a pass and lets the routers follow."""

    spec: Rollout
    revisions: dict[str, RevisionView] = field(default_factory=dict)
    target: str | None = None
    status: RolloutStatus | None = None
    route: RouteView | None = None
    routers: dict[str, RouterView] = field(
        default_factory=lambda: {"router-a": RouterView("router-a", ready=True, reachable=True, epoch="e1")}
    )
    now: datetime = START
    routers_follow: bool = True
    requests_per_turn: int = 0
    error_share: dict[str, float] = field(default_factory=dict)
    replicas: int = 1

    def observe(self) -> Observed:
        return Observed(
            dict(self.revisions), self.target, self.route, tuple(self.routers.values()), self.replicas
        )

    def decide(self) -> Decision:
        return step(self.spec, self.status, self.observe(), SETTINGS, self.now)

    def turn(self, seconds: float = 1.0) -> Decision:
        """Do one pass, write what it decided, let routers load it, traffic come and time pass."""
        decision = self.decide()
        self.status = decision.rollout
        self.write(decision)
        self.now += timedelta(seconds=seconds)
        return decision

    def run(self, turns: int, seconds: float = 1.0) -> list[Decision]:
        return [self.turn(seconds) for _ in range(turns)]

    def write(self, decision: Decision) -> None:
        weights = dict(decision.weights)
        if weights and (self.route is None or dict(self.route.weights) != weights):
            generation = self.route.generation + 1 if self.route else 1
            self.route = RouteView("route-uid", generation, weights)
        for name, view in list(self.revisions.items()):
            role = decision.roles.get(name, view.role)
            stable_at = self.now if role != view.role and role == "Stable" else view.stable_at
            kept = name in decision.keep
            self.revisions[name] = replace(
                view,
                role=role,
                stable_at=stable_at,
                running=kept,
                ready_endpoints=view.ready_endpoints if kept else 0,
            )
        if self.routers_follow and self.route:
            self.load_route()
        self.serve()

    def load_route(self) -> None:
        assert self.route is not None
        for name, router in self.routers.items():
            self.routers[name] = replace(
                router,
                route_uid=self.route.uid,
                route_generation=self.route.generation,
                state="Applied",
            )

    def serve(self) -> None:
        """Count this turn's requests by the weights that are loaded."""
        if not self.route or not self.requests_per_turn:
            return
        for name, router in self.routers.items():
            counters = dict(router.counters)
            for revision_name, weight in self.route.weights.items():
                old = counters.get(revision_name, RouterCounters(0, 0))
                requests = round(self.requests_per_turn * weight / 100)
                errors = round(requests * self.error_share.get(revision_name, 0.0))
                counters[revision_name] = RouterCounters(old.requests + requests, old.errors + errors)
            self.routers[name] = replace(router, counters=counters)

    def fail(self, name: str) -> None:
        """Take all ready pods of a revision away."""
        self.revisions[name] = replace(self.revisions[name], ready_endpoints=0)

    def heal(self, name: str) -> None:
        self.revisions[name] = replace(self.revisions[name], ready_endpoints=1)


def settled(spec: Rollout, **changes: Any) -> World:
    """Return a world in which wine-1 has become stable."""
    world = World(spec=spec, revisions={"wine-1": revision("wine-1")}, target="wine-1", **changes)
    world.run(3)
    assert world.status is not None
    assert world.status.stable == "wine-1"
    return world


def challenged(spec: Rollout, **changes: Any) -> World:
    """Return a world in which wine-1 is stable and wine-2 asked for, ready, and not yet looked at."""
    world = settled(spec, **changes)
    world.revisions["wine-2"] = revision("wine-2")
    world.target = "wine-2"
    return world
