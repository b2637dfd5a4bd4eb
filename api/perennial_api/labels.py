"""Every name that ends up in the cluster: group, labels, annotations, condition types and reasons."""

from enum import StrEnum
from typing import Final

__all__ = [
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
    "FailureReason",
    "RefusalReason",
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

# Audience of the projected tokens that the observer accepts.
TOKEN_AUDIENCE: Final = "perennial-observer"  # noqa: S105 - an audience, not a secret


class ServiceAccountRole(StrEnum):
    """Values of the label `perennial.dev/role`."""

    SERVER = "Server"  # may write the prediction log and reference, and read bundles
    TRAINER = "Trainer"  # may read the export, and read and write bundles
    PUSHER = "Pusher"  # may read and write bundles


class ConditionType(StrEnum):
    """Condition types of a ModelDeployment."""

    READY = "Ready"  # the stable revision answers through the gateway
    PROGRESSING = "Progressing"  # a rollout is under way
    CANARY_READY = "CanaryReady"  # the revision on trial has ready pods
    ROUTE_READY = "RouteReady"  # every router has applied the route
    MONITORED = "Monitored"  # the observer reports on it
    DRIFT_DETECTED = "DriftDetected"  # a Drift monitor is in alarm
    OUTLIERS_DETECTED = "OutliersDetected"  # an Outlier monitor is in alarm
    PERFORMANCE_DEGRADED = "PerformanceDegraded"  # a Performance monitor is in alarm
    RETRAINING = "Retraining"  # a run is under way
    RETRAINING_BLOCKED = "RetrainingBlocked"  # an alarm waits for its run; the reason says for what
    NAME_TAKEN = "NameTaken"  # a child's name belongs to somebody else
    INVALID_SPEC = "InvalidSpec"  # the spec can't be honoured; the last good one goes on serving


class FailureReason(StrEnum):
    """Why a model server can't start; it writes one of them to its termination log."""

    BUNDLE_NOT_FOUND = "BundleNotFound"  # nothing at the uri: push it
    DIGEST_MISMATCH = "DigestMismatch"  # the bytes aren't those that the digest names
    INVALID_BUNDLE = "InvalidBundle"  # the manifest or a file is missing or malformed
    UNSAFE_MODEL = "UnsafeModel"  # a pickle, or types beyond the reviewed list
    MODEL_LOAD_FAILED = "ModelLoadFailed"  # the model's own code failed while loading
    OBSERVER_UNAVAILABLE = "ObserverUnavailable"  # the bundle store didn't answer in time
    INTERNAL_ERROR = "InternalError"  # a bug of ours


class RefusalReason(StrEnum):
    """Why a trainer refused its candidate."""

    CHALLENGER_WORSE = "ChallengerWorse"  # worse than the champion on the test rows
    TOO_FEW_LABELS = "TooFewLabels"  # not enough labelled rows to train or test
    TOO_FEW_EFFECTIVE_SAMPLES = "TooFewEffectiveSamples"  # the age weights leave too few
    SINGLE_CLASS = "SingleClass"  # all labels are the same
