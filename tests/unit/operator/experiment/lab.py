"""A small world for experiments: pods that are ready, routers that follow the plan, clients, and an observer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from perennial.rollout.decision import ExperimentPlan
from perennial.rollout.experiment import ExperimentDecision, ExperimentFacts, step_experiment
from perennial.rollout.observed import Failure, Observed, RevisionView, RouterCounters, RouterView, RouteView
from perennial_api.arms import Arm
from perennial_api.modeldeployment.analysis import Analysis
from perennial_api.modeldeployment.command_status import Command
from perennial_api.modeldeployment.experiment import Experiment
from perennial_api.modeldeployment.experiment_status import ArmStatus, ExperimentStatus
from perennial_api.modelrevision import Origin, RevisionRole

START = datetime(2026, 1, 1, tzinfo=UTC)
STABLE = "wine-0"
MODEL_HASH = "abc"
ANALYSIS = Analysis.model_validate(
    {"interval": "1s", "initialDelay": "0s", "minSamples": 100, "progressDeadline": "5m"}
)


def uri(letter: str) -> str:
    return f"perennial://sha256:{letter * 64}"


def ab_test_of(
    *weights: int, route: Mapping[str, Any] | None = None, duration: str = "14d", **winner: Any
) -> Experiment:
    """Build an A/B test with variants v1, v2 … of these weights; with any rule, `winner` is set."""
    test: dict[str, Any] = {**(route or {"routeType": "Random"}), "maxDuration": duration}
    if winner:
        test["winner"] = {"reward": "NoError", "minSamples": 100} | winner
    return Experiment.model_validate(
        {
            "type": "ABTest",
            "variants": [
                {"name": f"v{i}", "model": {"uri": uri(str(i))}, "weight": weight}
                for i, weight in enumerate(weights, 1)
            ],
            "abTest": test,
        }
    )


def bandit_of(variants: int = 1, **bandit: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "type": "Bandit",
            "variants": [{"name": f"v{i}", "model": {"uri": uri(str(i))}} for i in range(1, variants + 1)],
            "bandit": {"reward": "NoError", "interval": "10s"} | bandit,
        }
    )


def shadow_of(**shadow: Any) -> Experiment:
    return Experiment.model_validate(
        {"type": "Shadow", "variants": [{"name": "v1", "model": {"uri": uri("1")}}], "shadow": shadow}
    )


def by_header() -> dict[str, Any]:
    return {"routeType": "Header", "routeBy": "x-user-id"}


def view_of(name: str, **changes: Any) -> RevisionView:
    digit = name[-1]
    base = RevisionView(
        name=name,
        model_uri=uri(digit),
        digest=f"sha256:{digit * 64}",
        model_hash=MODEL_HASH,
        inputs_hash=name,
        port=3000,
        origin=Origin.SPEC if name == STABLE else Origin.EXPERIMENT,
        role=RevisionRole.STABLE if name == STABLE else RevisionRole.CANDIDATE,
        ready_endpoints=1,
        running=True,
    )
    return replace(base, **changes)


@dataclass
class Lab:
    """Everything outside the machine; `turn` does a pass, lets the routers follow and requests come."""

    spec: Experiment | None
    views: dict[str, RevisionView] = field(default_factory=dict)
    status: ExperimentStatus | None = None
    stable: str | None = STABLE
    rollout_under_way: bool = False
    analysis: Analysis = ANALYSIS
    now: datetime = START
    routers_follow: bool = True
    requests_per_turn: int = 0
    error_share: dict[str, float] = field(default_factory=dict)
    reported: dict[str, Arm] = field(default_factory=dict)
    command: Command | None = None
    problem: tuple[str, str] | None = None
    route: RouteView | None = None
    counters: dict[str, RouterCounters] = field(default_factory=dict)
    decision: ExperimentDecision | None = None

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.spec.variants] if self.spec else []
        revisions = [STABLE, *(f"wine-{name}" for name in names)]
        self.views = {name: view_of(name) for name in revisions} | self.views
        self.route = RouteView("route-uid", 1, {STABLE: 100})

    def facts(self) -> ExperimentFacts:
        variants = self.spec.variants if self.spec else ()
        return ExperimentFacts(
            uid="uid-of-wine",
            observed=self.observe(),
            stable=self.stable,
            analysis=self.analysis,
            rollout_under_way=self.rollout_under_way,
            variants={v.name: f"wine-{v.name}" for v in variants if f"wine-{v.name}" in self.views},
            problem=self.problem,
            command=self.command,
        )

    def observe(self) -> Observed:
        applied = self.route.generation if self.route and self.routers_follow else 0
        router = RouterView(
            "router-a",
            ready=True,
            reachable=True,
            epoch="e1",
            route_uid="route-uid",
            route_generation=applied,
            state="Applied",
            counters=dict(self.counters),
        )
        return Observed(dict(self.views), self.stable, self.route, (router,), arms=self.reported)

    def decide(self) -> ExperimentDecision:
        return step_experiment(self.spec, self.status, self.facts(), self.now)

    def turn(self, seconds: float = 1.0) -> ExperimentDecision:
        self.decision = self.decide()
        self.status = self.decision.status
        weights = dict(self.decision.plan.weights) if self.decision.plan else {STABLE: 100}
        assert self.route is not None
        if weights != dict(self.route.weights):
            self.route = RouteView("route-uid", self.route.generation + 1, weights)
        if self.routers_follow:
            self.serve()
        self.now += timedelta(seconds=seconds)
        return self.decision

    def run(self, turns: int, seconds: float = 1.0) -> list[ExperimentDecision]:
        return [self.turn(seconds) for _ in range(turns)]

    def serve(self) -> None:
        """Count this turn's requests by the weights in force; each request is a client of its own."""
        assert self.route is not None
        for name, weight in self.route.weights.items():
            old = self.counters.get(name, RouterCounters(0, 0))
            requests = round(self.requests_per_turn * weight / 100)
            errors = round(requests * self.error_share.get(name, 0.0))
            self.counters[name] = RouterCounters(
                old.requests + requests,
                old.errors + errors,
                users=old.users + requests,
                failing_users=old.failing_users + errors,
            )

    def lose(self, variant: str, failure: Failure | None = None) -> None:
        name = f"wine-{variant}"
        self.views[name] = replace(self.views[name], ready_endpoints=0, failure=failure)

    def heal(self, variant: str) -> None:
        name = f"wine-{variant}"
        self.views[name] = replace(self.views[name], ready_endpoints=1, failure=None)

    @property
    def plan(self) -> ExperimentPlan:
        assert self.decision is not None
        assert self.decision.plan is not None
        return self.decision.plan

    @property
    def told(self) -> ExperimentStatus:
        assert self.status is not None
        return self.status

    def arm(self, name: str) -> ArmStatus:
        return next(arm for arm in self.told.arms if arm.name == name)

    @property
    def weights(self) -> dict[str, int]:
        return dict(self.plan.weights)
