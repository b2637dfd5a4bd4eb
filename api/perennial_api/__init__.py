"""Pydantic models of Perennial's resources and the generator of its CRDs.

A model reads what the API server stores (``ModelDeployment.model_validate(body)``), is frozen, and writes it back
(``.to_api()``): camelCase outside, snake_case inside, unknown fields of a spec refused.
"""

from perennial_api.modeldeployment.resource import ModelDeployment, ModelDeploymentSpec
from perennial_api.modelrevision import ModelRevision
from perennial_api.modelroute import ModelRoute
from perennial_api.modelruntime import ClusterModelRuntime, ModelRuntime
from perennial_api.monitorreport import MonitorReport
from perennial_api.retrainingrun import RetrainingRun

__all__ = [
    "ClusterModelRuntime",
    "ModelDeployment",
    "ModelDeploymentSpec",
    "ModelRevision",
    "ModelRoute",
    "ModelRuntime",
    "MonitorReport",
    "RetrainingRun",
]
