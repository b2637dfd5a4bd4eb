"""The verbs that people say, and `status.lastCommand`: what became of the latest."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from perennial_api.base import Model, StatusModel
from perennial_api.types import Bool, Int, Message, Name, Reason, Time

__all__ = ["Command", "LastCommand", "Verb"]

CommandId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]


class Verb(StrEnum):
    """What a person may ask of a rollout or experiment."""

    PROMOTE = "Promote"
    ABORT = "Abort"
    RETRY = "Retry"
    PAUSE = "Pause"
    RESUME = "Resume"
    UNDO = "Undo"


class Command(Model):
    """One intent, as the annotation perennial.dev/command holds it in JSON."""

    id: CommandId
    """Told apart by it: a command is carried out once."""
    verb: Verb
    """Promote, Abort, Retry, Pause, Resume or Undo."""
    revision: Name | None = None
    """The revision that the person saw on trial, saw failed (Retry) or wants back (Undo); another state of things then
    refuses the command."""
    step_index: Annotated[Int, Field(ge=0)] | None = None
    """The step that the person saw; Promote goes on from no other."""
    full: Bool = False
    """True promotes to the end, past all steps and gates."""
    variant: Name | None = None
    """The variant of an experiment to promote."""


class LastCommand(StatusModel):
    """The latest verb, and what became of it."""

    id: CommandId
    """Id of the command."""
    verb: Verb | None = None
    """Its verb; left out where it can't be read."""
    accepted: Bool
    """Whether it was carried out."""
    reason: Reason = ""
    """Why, in one CamelCase word."""
    message: Message = ""
    """Why, in a sentence."""
    time: Time | None = None
    """When."""
