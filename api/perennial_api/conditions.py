"""A condition of a status, as everywhere in Kubernetes."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from perennial_api.base import StatusModel
from perennial_api.types import Int, KeyedBy, Message, Time

__all__ = ["Condition", "ConditionStatus", "Conditions"]


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(StatusModel):
    """One fact about the object."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """What the fact is about, in CamelCase."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Z][A-Za-z0-9]*$")]
    """Why, in one CamelCase word."""
    message: Message = ""
    """Why, in a sentence that says what to do."""
    observed_generation: Annotated[Int, Field(ge=0)] = 0
    """The metadata.generation that the fact was found for."""
    last_transition_time: Time
    """When the status last changed."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=32), KeyedBy("type")]
