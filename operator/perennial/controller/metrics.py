"""What the operator tells Prometheus."""

from perennial_api.modeldeployment.status import ModelDeploymentStatus, RolloutPhase
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["Metrics"]


class Metrics:
    """All metrics of one operator process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.pass_duration = Histogram(
            "perennial_reconcile_duration_seconds",
            "Duration of a pass over one ModelDeployment.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90),
            registry=self.registry,
        )
        self.pass_errors = Counter(
            "perennial_reconcile_errors_total",
            "Passes that failed and are tried again, by the kind of error.",
            ["error"],
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "perennial_queue_depth", "ModelDeployments waiting for a pass.", registry=self.registry
        )
        self.is_leader = Gauge("perennial_leader", "1 while this replica leads.", registry=self.registry)
        labels = ["namespace", "name"]
        self.canary_weight = Gauge(
            "perennial_canary_weight",
            "Share of the requests that a revision on trial gets, in percent.",
            [*labels, "revision"],
            registry=self.registry,
        )
        self.rollout_phase = Gauge(
            "perennial_rollout_phase",
            "1 for the phase that a rollout is in.",
            [*labels, "phase"],
            registry=self.registry,
        )
        self.rollouts = Counter(
            "perennial_rollouts_total",
            "Rollouts that ended, by how.",
            [*labels, "outcome"],
            registry=self.registry,
        )
        self._canaries: dict[tuple[str, str], str] = {}

    def show(self, namespace: str, name: str, status: ModelDeploymentStatus) -> None:
        """Show one deployment's rollout as its status has it."""
        rollout = status.rollout
        if rollout is None:
            return
        for phase in RolloutPhase:
            self.rollout_phase.labels(namespace, name, phase.value).set(float(phase is rollout.phase))
        shown = self._canaries.get((namespace, name))
        if shown is not None and shown != rollout.canary:
            self._remove_canary(namespace, name, shown)
        if rollout.canary is not None:
            self._canaries[namespace, name] = rollout.canary
            weight = rollout.canary_weight_percent or 0
            self.canary_weight.labels(namespace, name, rollout.canary).set(weight)

    def forget(self, namespace: str, name: str) -> None:
        """Drop the series of a deployment that is gone."""
        if shown := self._canaries.get((namespace, name)):
            self._remove_canary(namespace, name, shown)
        for phase in RolloutPhase:
            self._remove(self.rollout_phase, namespace, name, phase.value)
        for outcome in ("Promoted", "RolledBack"):
            self._remove(self.rollouts, namespace, name, outcome)

    def _remove_canary(self, namespace: str, name: str, revision: str) -> None:
        self._canaries.pop((namespace, name), None)
        self._remove(self.canary_weight, namespace, name, revision)

    @staticmethod
    def _remove(metric: Gauge | Counter, *labels: str) -> None:
        try:
            metric.remove(*labels)
        except KeyError:
            return
