"""The whole ModelDeployment, and the rules that tie its parts together."""

import re
from typing import Annotated, Literal

from pydantic import Field

from perennial_api.base import Model, Resource, Rule
from perennial_api.labels import API_VERSION
from perennial_api.modeldeployment.analysis import MetricType
from perennial_api.modeldeployment.experiment import Experiment, Reward
from perennial_api.modeldeployment.logger import Logger, LoggerMode
from perennial_api.modeldeployment.model import PERENNIAL_SCHEME, RUNTIME_SCHEME, ModelSource
from perennial_api.modeldeployment.monitoring import Monitoring, MonitorType
from perennial_api.modeldeployment.retraining import Retraining
from perennial_api.modeldeployment.rollout import Rollout
from perennial_api.modeldeployment.server import Server
from perennial_api.modeldeployment.status import ModelDeploymentStatus
from perennial_api.types import Int

__all__ = ["LONGEST_NAME", "ModelDeployment", "ModelDeploymentSpec"]

# A revision is `<name>-<8 hex>`, and its pods carry that as a label of at most 63 characters with a suffix of
# the ReplicaSet's and the Job's own.
LONGEST_NAME = 40
_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"


def _references_exist(spec: "ModelDeploymentSpec") -> bool:
    if spec.retraining is None:
        return True
    known = {monitor.name for monitor in spec.monitoring.monitors}
    named = {trigger.monitor for trigger in spec.retraining.triggers} | set(spec.retraining.block_on)
    return named <= known


def _counts(spec: "ModelDeploymentSpec", kind: MetricType) -> bool:
    return any(metric.type is kind for metric in spec.rollout.analysis.metrics)


def _monitors(spec: "ModelDeploymentSpec") -> set[MonitorType]:
    return {monitor.type for monitor in spec.monitoring.monitors}


def _promises_latency(spec: "ModelDeploymentSpec") -> bool:
    promises = [monitor.service_level for monitor in spec.monitoring.monitors]
    return any(promise is not None and promise.latency is not None for promise in promises)


def _reads_inputs(spec: "ModelDeploymentSpec") -> bool:
    return any(
        monitor.type.reads_inputs or monitor.slice is not None or monitor.fairness is not None
        for monitor in spec.monitoring.monitors
    )


def _reads_feedback(spec: "ModelDeploymentSpec") -> bool:
    experiment = spec.experiment
    if _counts(spec, MetricType.FEEDBACK):
        return True
    if experiment is None:
        return False
    winner = experiment.ab_test.winner if experiment.ab_test else None
    rewards = (winner.reward if winner else None, experiment.bandit.reward if experiment.bandit else None)
    return Reward.FEEDBACK in rewards or experiment.shadow is not None


class ModelDeploymentSpec(Model):
    """What should be."""

    rules = (
        Rule(
            cel="has(self.server.latencyBudget) || self.rollout.analysis.metrics.all(m, m.type != 'SlowRate')",
            message="a metric of type SlowRate counts requests above server.latencyBudget: set that, such as 50ms, or remove the metric",
            holds=lambda self: (
                self.server.latency_budget is not None or not _counts(self, MetricType.SLOW_RATE)
            ),
        ),
        Rule(
            cel=(
                "has(self.server.latencyBudget)"
                " || self.monitoring.monitors.all(m, !has(m.serviceLevel) || !has(m.serviceLevel.latency))"
            ),
            message="serviceLevel.latency counts requests above server.latencyBudget: set that, such as 50ms, or remove latency",
            holds=lambda self: self.server.latency_budget is not None or not _promises_latency(self),
        ),
        Rule(
            cel=(
                "self.rollout.analysis.metrics.all(m, m.type != 'OutlierRate')"
                " || self.monitoring.monitors.exists(m, m.type == 'Outlier')"
            ),
            message="a metric of type OutlierRate counts what an Outlier monitor flags: add one to monitoring.monitors or remove the metric",
            holds=lambda self: (
                not _counts(self, MetricType.OUTLIER_RATE) or MonitorType.OUTLIER in _monitors(self)
            ),
        ),
        Rule(
            cel=(
                "self.logger.mode in ['All', 'Response']"
                " || self.rollout.analysis.metrics.all(m, m.type != 'Feedback')"
                " && (!has(self.experiment)"
                " || (!has(self.experiment.abTest) || !has(self.experiment.abTest.winner)"
                " || self.experiment.abTest.winner.reward != 'Feedback')"
                " && (!has(self.experiment.bandit) || self.experiment.bandit.reward != 'Feedback')"
                " && !has(self.experiment.shadow))"
            ),
            message="labels and shadow answers are matched with the prediction log: set logger.mode to All or Response, or choose a metric or reward that needs none",
            holds=lambda self: self.logger.mode.has_outputs or not _reads_feedback(self),
        ),
        Rule(
            cel=(
                "!has(self.retraining)"
                " || self.retraining.triggers.all(t, self.monitoring.monitors.exists(m, m.name == t.monitor))"
                " && self.retraining.blockOn.all(n, self.monitoring.monitors.exists(m, m.name == n))"
            ),
            message="retraining.triggers and retraining.blockOn may name only monitors in monitoring.monitors: add the monitor or correct the name",
            holds=_references_exist,
        ),
        Rule(
            cel="!has(self.retraining) || self.model.uri.startsWith('perennial://')",
            message="retraining needs a model in the bundle store: push it with `kubectl perennial push DIR` and set model.uri to the perennial:// uri",
            holds=lambda self: self.retraining is None or self.model.uri.startswith(PERENNIAL_SCHEME),
        ),
        Rule(
            cel="!has(self.server.outlierScores) || !self.model.uri.startsWith('runtime://')",
            message="server.outlierScores needs a bundle, whose reference sample says what is odd: remove it, and let an Outlier monitor learn from the log",
            holds=lambda self: (
                self.server.outlier_scores is None or not self.model.uri.startswith(RUNTIME_SCHEME)
            ),
        ),
        Rule(
            cel="self.logger.mode in ['All', 'Request'] || !has(self.retraining)",
            message="retraining learns from logged inputs: set logger.mode to All or Request, or remove retraining",
            holds=lambda self: self.logger.mode.has_inputs or self.retraining is None,
        ),
        Rule(
            cel=(
                "self.logger.mode in ['All', 'Request']"
                " || self.monitoring.monitors.all(m,"
                " !(m.type in ['Drift', 'Outlier', 'DataQuality', 'Custom']) && !has(m.slice) && !has(m.fairness))"
            ),
            message="monitors of type Drift, Outlier, DataQuality and Custom, and slices, read logged inputs: set logger.mode to All or Request, or remove them",
            holds=lambda self: self.logger.mode.has_inputs or not _reads_inputs(self),
        ),
        Rule(
            cel=(
                "self.logger.mode in ['All', 'Response']"
                " || self.monitoring.monitors.all(m, !(m.type in"
                " ['PredictionDrift', 'Performance', 'EstimatedPerformance', 'Concept', 'Fairness']))"
            ),
            message="monitors of predictions and of performance read logged outputs: set logger.mode to All or Response, or remove them",
            holds=lambda self: (
                self.logger.mode.has_outputs or not any(kind.reads_outputs for kind in _monitors(self))
            ),
        ),
        Rule(
            cel="self.logger.mode != 'Response' || !has(self.monitoring.eventTime)",
            message="monitoring.eventTime is read from logged inputs: set logger.mode to All or Request, or remove it; the event time of the model's own schema is always logged",
            holds=lambda self: (
                self.logger.mode is not LoggerMode.RESPONSE or self.monitoring.event_time is None
            ),
        ),
        Rule(
            cel="!has(self.monitoring.eventTime) || !(self.monitoring.eventTime in self.logger.exclude)",
            message="monitoring.eventTime is read from the prediction log: remove that column from logger.exclude",
            holds=lambda self: self.monitoring.event_time not in self.logger.exclude,
        ),
    )

    model: ModelSource
    """The model bundle to serve. A change makes a new revision, which must pass the rollout."""
    server: Server = Server()
    """How the model is served. A change of runtime, resources, scheduling or pull secrets makes a new revision of the
    model that is stable now; scaling, budget and limits apply at once."""
    rollout: Rollout = Rollout()
    """How a new revision may replace the stable one."""
    experiment: Experiment | None = None
    """A long-running comparison of variants with the stable revision. A rollout waits until it ends."""
    logger: Logger = Logger()
    """Which predictions are recorded, and where they go. A change makes a new revision."""
    monitoring: Monitoring = Monitoring()
    """What is watched."""
    retraining: Retraining | None = None
    """When and how the model is trained again; left out it never is."""
    revision_history_limit: Annotated[Int, Field(ge=1, le=100)] = 10
    """How many retired or failed revisions are kept, 1 to 100."""


class ModelDeployment(Resource):
    """A model that is served, replaced with care, watched, and trained again when it decays."""

    rules = (
        Rule(
            cel=f"self.metadata.name.size() <= {LONGEST_NAME}",
            message=f"the name is longer than {LONGEST_NAME} characters, too long for its children's names: shorten it",
            holds=lambda self: len(self.metadata.name) <= LONGEST_NAME,
        ),
        Rule(
            cel=f"self.metadata.name.matches('{_NAME}')",
            message="the name must begin with a letter and have only lower-case letters, digits and '-', since a Service has it too: rename it",
            holds=lambda self: not self.metadata.name or re.fullmatch(_NAME, self.metadata.name) is not None,
        ),
    )

    api_version: Literal["perennial.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelDeployment"] = "ModelDeployment"
    spec: ModelDeploymentSpec
    """What should be."""
    status: ModelDeploymentStatus = ModelDeploymentStatus()
    """What is."""
