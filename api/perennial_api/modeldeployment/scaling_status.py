"""`status.scaling`: what the operator remembers of the load, so that a restart scales nothing down too early."""

from typing import Annotated

from pydantic import Field

from perennial_api.base import StatusModel
from perennial_api.modeldeployment.gate_status import Count
from perennial_api.types import Float, KeyedBy, Name, Time

__all__ = ["RevisionScale", "ScalingStatus"]


class RevisionScale(StatusModel):
    """One revision's pods."""

    revision: Name
    """The revision."""
    replicas: Count = 0
    """How many pods it should have."""
    load: Annotated[Float, Field(ge=0)] | None = None
    """Latest load in scaleMetric's unit, over all its pods."""
    wanted_less_since: Time | None = None
    """Since when fewer pods would do."""
    peak_wanted: Count = 0
    """The most pods that were wanted since then."""


class ScalingStatus(StatusModel):
    """What the operator remembers of the load."""

    revisions: Annotated[tuple[RevisionScale, ...], Field(max_length=20), KeyedBy("revision")] = ()
    """Each revision that has pods."""
    floor_revision: Name | None = None
    """The stable revision whose size is kept until the rollout has ended."""
    floor: Count = 0
    """That size, in pods."""
