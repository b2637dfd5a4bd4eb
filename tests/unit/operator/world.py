"""A small world for the state machine: routers that load routes, pods that are ready, traffic that is counted."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from perennial.manifests.route import RouteWish
from perennial.rollout.decision import Decision, ExperimentPlan, Notice, Outcome
from perennial.rollout.machine import restore, step
from perennial.rollout.observed import (
    Observed,
    RevisionView,
    RouterCounters,
    RouterView,
    RouteView,
    ShadowCounters,
)
from perennial.rollout.settings import RolloutSettings
from perennial.rollout.verbs import Situation, assess_command
from perennial_api.modeldeployment.command_status import Command, LastCommand, Verb
from perennial_api.modeldeployment.experiment_status import ExperimentStatus
from perennial_api.modeldeployment.rollout import Rollout
from perennial_api.modeldeployment.status import RolloutStatus
from perennial_api.modeldeployment.warmup_status import WarmUp

START = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = RolloutSettings(drain_timeout_s=300.0, verify_interval_s=0.5)


def rollout_spec(*steps: int | str | dict[str, Any] | None, **analysis: Any) -> Rollout:
    """Build a canary: numbers are weights, strings are pauses, None is one until promoted, the rest is as it is."""
    return Rollout.model_validate(
        {"canary": {"steps": [_step(s) for s in steps]}, "analysis": _analysis(**analysis)}
    )


def blue_green(*, analysis: dict[str, Any] | None = None, **times: Any) -> Rollout:
    return Rollout.model_validate(
        {"type": "BlueGreen", "blueGreen": times, "analysis": _analysis(**(analysis or {}))}
    )


def immediate(**analysis: Any) -> Rollout:
    return Rollout.model_validate({"type": "Immediate", "analysis": _analysis(**analysis)})


def _step(step: int | str | dict[str, Any] | None) -> dict[str, Any]:
    match step:
        case int():
            return {"setWeight": step}
        case str():
            return {"pause": {"duration": step}}
        case None:
            return {"pause": {}}
        case _:
            return step


def _analysis(**analysis: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "interval": "1s",
        "initialDelay": "0s",
        "minSamples": 100,
        "bake": "5s",
        "progressDeadline": "10m",
    }
    return base | analysis


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
    needed: dict[str, int] = field(default_factory=dict)
    experiment: ExperimentPlan | None = None
    warm_up_required: bool = False
    warm_up: WarmUp | None = None
    refuse_too_slow: bool = False
    running: ExperimentStatus | None = None
    notices: list[Notice] = field(default_factory=list)
    outcome: Outcome | None = None

    def observe(self) -> Observed:
        return Observed(
            dict(self.revisions),
            self.target,
            self.route,
            tuple(self.routers.values()),
            self.replicas,
            deployment="wine",
            needed=self.needed,
            warm_up_required=self.warm_up_required,
            warm_up=self.warm_up,
            refuse_too_slow=self.refuse_too_slow,
        )

    def decide(self) -> Decision:
        return step(self.spec, self.status, self.observe(), SETTINGS, self.now, experiment=self.experiment)

    def say(self, verb: str, **words: Any) -> LastCommand:
        """Give a command and do what the pass that hears it does with it."""
        command = Command(id=f"id-{len(self.notices)}", verb=Verb(verb), **words)
        current = restore(self.status, self.revisions, self.target)
        situation = Situation("wine", self.spec, current, self.revisions, self.running, self.now)
        answer = assess_command(command, situation)
        self.notices += answer.notices
        if answer.rollout is not None:
            self.status = answer.rollout.rollout
            self.outcome = answer.rollout.outcome
        self.target = answer.undone_to or self.target
        return answer.last_command

    @property
    def rollout(self) -> RolloutStatus:
        assert self.status is not None
        return self.status

    @property
    def weights(self) -> dict[str, int]:
        return dict(self.route.weights) if self.route else {}

    def turn(self, seconds: float = 1.0) -> Decision:
        """Do one pass, write what it decided, let routers load it, traffic come and time pass."""
        decision = self.decide()
        self.status = decision.rollout
        self.notices += decision.notices
        self.outcome = decision.outcome or self.outcome
        self.write(decision)
        self.now += timedelta(seconds=seconds)
        return decision

    def run(self, turns: int, seconds: float = 1.0) -> list[Decision]:
        return [self.turn(seconds) for _ in range(turns)]

    def run_until(self, is_so: Callable[["World"], bool], most: int = 400) -> None:
        """Do passes until something is so."""
        for _ in range(most):
            if is_so(self):
                return
            self.turn()
        raise AssertionError(f"never so: {self.status}")

    def write(self, decision: Decision) -> None:
        wish = RouteWish.of(decision)
        want = (dict(wish.weights), wish.mirror, wish.preview)
        route = self.route
        got = (dict(route.weights), route.mirror, route.preview) if route else None
        if wish.weights and want != got:
            self.route = RouteView("route-uid", route.generation + 1 if route else 1, *want)
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
                counters[revision_name] = replace(
                    old, requests=old.requests + requests, errors=old.errors + errors
                )
            if mirror := self.route.mirror:
                old = counters.get(mirror.revision, RouterCounters(0, 0))
                copies = round(self.requests_per_turn * mirror.percent / 100)
                bad = round(copies * self.error_share.get(mirror.revision, 0.0))
                shadow = ShadowCounters(old.shadow.requests + copies, old.shadow.errors + bad)
                counters[mirror.revision] = replace(old, shadow=shadow)
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
