"""How each kind is presented: plural, short names, scope, and the columns of `kubectl get`."""

from dataclasses import dataclass
from typing import Literal

from perennial_api.base import Resource
from perennial_api.modeldeployment.resource import ModelDeployment
from perennial_api.modelrevision import ModelRevision
from perennial_api.modelroute import ModelRoute
from perennial_api.modelruntime import ClusterModelRuntime, ModelRuntime
from perennial_api.monitorreport import MonitorReport
from perennial_api.retrainingrun import RetrainingRun

__all__ = ["DEFINITIONS", "Column", "Definition"]


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`; a priority above 0 is shown only with `-o wide`."""

    name: str
    json_path: str
    type: Literal["string", "integer", "number", "date"] = "string"
    priority: int = 0


@dataclass(frozen=True)
class Definition:
    """One kind as the API server should offer it."""

    model: type[Resource]
    plural: str
    short_name: str
    columns: tuple[Column, ...]
    scope: Literal["Namespaced", "Cluster"] = "Namespaced"

    @property
    def kind(self) -> str:
        """The kind, which is the model's name."""
        return self.model.__name__


_AGE = Column("Age", ".metadata.creationTimestamp", "date")
_RUNTIME_COLUMNS = (Column("Role", ".spec.role"), Column("Image", ".spec.image"), _AGE)

DEFINITIONS = (
    Definition(
        ModelDeployment,
        "modeldeployments",
        "mdep",
        (
            Column("URL", ".status.url"),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Phase", ".status.rollout.phase"),
            Column("Stable", ".status.rollout.stable"),
            Column("Canary", ".status.rollout.canary"),
            Column("Weight", ".status.rollout.canaryWeightPercent", "integer"),
            Column("Monitors", ".status.monitorsSummary"),
            _AGE,
            Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
        ),
    ),
    Definition(
        ModelRevision,
        "modelrevisions",
        "mrev",
        (
            Column("Deployment", ".spec.deployment"),
            Column("Role", ".status.role"),
            Column("Origin", ".spec.origin"),
            Column("Model", ".spec.model.shortDigest"),
            Column("Reason", ".status.reason"),
            _AGE,
            Column("Message", ".status.message", priority=1),
        ),
    ),
    Definition(
        ModelRoute,
        "modelroutes",
        "mroute",
        (
            Column("Generation", ".metadata.generation", "integer"),
            Column("First", ".spec.revisions[0].name"),
            Column("Weight", ".spec.revisions[0].weightPercent", "integer"),
            Column("Second", ".spec.revisions[1].name"),
            Column("Weight2", ".spec.revisions[1].weightPercent", "integer"),
            _AGE,
        ),
    ),
    Definition(
        MonitorReport,
        "monitorreports",
        "mreport",
        (
            Column("Revision", ".status.revision"),
            Column("Predictions", ".status.log.predictions", "integer"),
            Column("Labels", ".status.log.labels", "integer"),
            Column("Watermark", ".status.log.watermark"),
            _AGE,
        ),
    ),
    Definition(
        RetrainingRun,
        "retrainingruns",
        "rrun",
        (
            Column("Deployment", ".spec.deployment"),
            Column("Monitor", ".spec.trigger.monitor"),
            Column("Phase", ".status.phase"),
            Column("Reason", ".status.reason"),
            Column("Champion", ".status.result.championScore", "number"),
            Column("Challenger", ".status.result.challengerScore", "number"),
            Column("Candidate", ".status.candidateRevision"),
            _AGE,
            Column("Message", ".status.message", priority=1),
        ),
    ),
    Definition(ModelRuntime, "modelruntimes", "mruntime", _RUNTIME_COLUMNS),
    Definition(ClusterModelRuntime, "clustermodelruntimes", "cmruntime", _RUNTIME_COLUMNS, "Cluster"),
)
