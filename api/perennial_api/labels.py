"""Every name that ends up in the cluster: group, labels, annotations and condition types.

The reasons that servers and trainers report are in docs/seams.md: they don't import this package.
"""

from enum import StrEnum
from typing import Final

__all__ = [
    "ANNOTATION_COMMAND",
    "ANNOTATION_SPEC_HASH",
    "API_VERSION",
    "GROUP",
    "LABEL_DEPLOYMENT",
    "LABEL_MANAGED_BY",
    "LABEL_REVISION",
    "LABEL_ROLE",
    "MANAGED_BY",
    "TOKEN_AUDIENCE",
    "VERSION",
    "ConditionType",
    "ServiceAccountRole",
]

GROUP: Final = "perennial.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "perennial.dev/v1alpha1"

# On every child; the operator's watches select by it.
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "perennial"
# On every child: the ModelDeployment's name.
LABEL_DEPLOYMENT: Final = "perennial.dev/deployment"
# On the children of one revision, and its pods' selector: the revision's name.
LABEL_REVISION: Final = "perennial.dev/revision"
# On a ServiceAccount: what the observer lets its tokens do.
LABEL_ROLE: Final = "perennial.dev/role"

# On a child: hash of what was applied, so that an idle pass writes nothing.
ANNOTATION_SPEC_HASH: Final = "perennial.dev/spec-hash"

# On a ModelDeployment, by `kubectl perennial`: a verb with an id, in JSON.
ANNOTATION_COMMAND: Final = "perennial.dev/command"

# Audience of the projected tokens that the observer accepts.
TOKEN_AUDIENCE: Final = "perennial-observer"  # noqa: S105 - an audience, not a secret


class ServiceAccountRole(StrEnum):
    """Values of the label `perennial.dev/role`."""

    SERVER = "Server"  # may write the prediction log and reference, and read bundles
    TRAINER = "Trainer"  # may read the export, and read and write bundles
    PUSHER = "Pusher"  # may read and write bundles
    GATEWAY = "Gateway"  # may write the prediction log of any deployment; no label gives this role


class ConditionType(StrEnum):
    """Condition types of a ModelDeployment."""

    READY = "Ready"  # the stable revision answers through the gateway
    PROGRESSING = "Progressing"  # a rollout is under way
    PAUSED = "Paused"  # a rollout waits for a person or for traffic; the reason says which
    WITHIN_LATENCY_BUDGET = "WithinLatencyBudget"  # the latest warm-up kept server.latencyBudget
    EXPERIMENTING = "Experimenting"  # an experiment runs; when it ended, the reason says how
    SCALING = "Scaling"  # the number of pods can follow the load
    ANALYZABLE = "Analyzable"  # every metric of the analysis can be read; the message names those that can't
    CANARY_READY = "CanaryReady"  # the revision on trial has ready pods
    ROUTE_READY = "RouteReady"  # every router has applied the route
    MONITORED = "Monitored"  # the observer reports on it
    DRIFT_DETECTED = "DriftDetected"  # a Drift or PredictionDrift monitor is in alarm
    OUTLIERS_DETECTED = "OutliersDetected"  # an Outlier monitor is in alarm
    DATA_QUALITY_DEGRADED = "DataQualityDegraded"  # a DataQuality monitor is in alarm
    PERFORMANCE_DEGRADED = "PerformanceDegraded"  # a Performance or Concept monitor is in alarm
    ESTIMATED_PERFORMANCE_DEGRADED = "EstimatedPerformanceDegraded"  # one of that type is in alarm
    SERVICE_LEVEL_DEGRADED = "ServiceLevelDegraded"  # a ServiceLevel monitor is in alarm
    UNFAIRNESS_DETECTED = "UnfairnessDetected"  # a Fairness monitor is in alarm
    CUSTOM_ALARM = "CustomAlarm"  # a Custom monitor is in alarm
    RETRAINING = "Retraining"  # a run is under way
    RETRAINING_BLOCKED = "RetrainingBlocked"  # an alarm waits for its run; the reason says for what
    NAME_TAKEN = "NameTaken"  # a child's name belongs to somebody else
    INVALID_SPEC = "InvalidSpec"  # the spec can't be honoured; the last good one goes on serving
