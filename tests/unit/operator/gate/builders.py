"""A gate, routers that count, and looks at them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from perennial.rollout.gate import GateVerdict, assess_gate, next_look_at, observe_gate
from perennial.rollout.observed import Observed, Reading, RouterCounters, RouterView
from perennial_api.arms import Arm
from perennial_api.modeldeployment.analysis import Analysis
from perennial_api.modeldeployment.gate_status import Gate, GateMetric

START = datetime(2026, 1, 1, tzinfo=UTC)
ERRORS = {"name": "errors", "type": "ErrorRate"}
CANARY, STABLE = "wine-2", "wine-1"


def analysis(*metrics: dict[str, Any], **changes: Any) -> Analysis:
    """Build an analysis with these metrics, looked at every 15 s without delay."""
    base = {"interval": "15s", "initialDelay": "0s", "minSamples": 200, "bake": "5m"}
    return Analysis.model_validate(base | changes | {"metrics": metrics or (ERRORS,)})


def arm(revision: str, since: datetime, **counts: Any) -> Arm:
    """Build what the observer reports of one revision."""
    return Arm(revision=revision, since=since, counted_until=since, **counts)


@dataclass
class Scene:
    """One rollout seen by the gate: set what the routers count, then look."""

    spec: Analysis = field(default_factory=analysis)
    gate: Gate = field(default_factory=Gate)
    weight_since: datetime = START
    now: datetime = START
    routers: dict[str, RouterView] = field(default_factory=dict)
    by_client: bool = False
    arms: dict[str, Arm] = field(default_factory=dict)
    readings: dict[str, Reading] = field(default_factory=dict)

    def count(self, revision: str, pod: str = "router-a", **more: int) -> "Scene":
        """Let a router count more of a revision."""
        router = self.routers.setdefault(pod, RouterView(pod, ready=True, reachable=True, epoch="e1"))
        old = router.counters.get(revision, RouterCounters(0, 0))
        fields = ("requests", "errors", "slow", "invalid", "users", "failing_users")
        new = RouterCounters(**{name: getattr(old, name) + more.get(name, 0) for name in fields})
        self.routers[pod] = RouterView(
            pod, ready=True, reachable=True, epoch=router.epoch, counters={**router.counters, revision: new}
        )
        return self

    def restart(self, pod: str = "router-a") -> "Scene":
        """Let a router's counters start at zero."""
        old = self.routers[pod]
        self.routers[pod] = RouterView(pod, ready=True, reachable=True, epoch=f"{old.epoch}+")
        return self

    def observe(self) -> Observed:
        return Observed(
            {},
            None,
            routers=tuple(self.routers.values()),
            by_client=self.by_client,
            arms=self.arms,
            readings=self.readings,
        )

    def look(self) -> Gate:
        """Wait until the next look is due, and look."""
        self.now = max(self.now, next_look_at(self.gate, self.spec, self.weight_since))
        self.gate = observe_gate(
            self.gate,
            self.spec,
            self.observe(),
            canary=CANARY,
            stable=STABLE,
            weight_since=self.weight_since,
            now=self.now,
        )
        return self.gate

    def verdict(self, *, baked: bool = True, at_deadline: bool = False) -> GateVerdict:
        return assess_gate(self.gate, self.spec, baked=baked, at_deadline=at_deadline)

    def metric(self, name: str = "errors") -> GateMetric:
        return next(metric for metric in self.gate.metrics if metric.name == name)

    def wait(self, seconds: float) -> "Scene":
        self.now += timedelta(seconds=seconds)
        return self


def begun(*metrics: dict[str, Any], by_client: bool = False, **changes: Any) -> Scene:
    """Return a scene after the first look, which only sets the marks."""
    scene = Scene(spec=analysis(*metrics, **changes), by_client=by_client)
    scene.count(CANARY).count(STABLE).look()
    return scene


def judged(canary: dict[str, int], stable: dict[str, int], *metrics: dict[str, Any], **changes: Any) -> Scene:
    """Return a scene in which these counts came in between two looks."""
    scene = begun(*metrics, **changes)
    scene.count(CANARY, **canary).count(STABLE, **stable).look()
    return scene
