"""Read the verb that somebody put into the annotation, and have it judged, once."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from perennial_api.labels import ANNOTATION_COMMAND
from perennial_api.modeldeployment.command_status import Command, LastCommand
from pydantic import ValidationError

from perennial.rollout.verbs import Answer, Situation, assess_command, refuse_unreadable

__all__ = ["Unreadable", "answer_command", "read_command"]

_ID = re.compile(r'"id"\s*:\s*"([A-Za-z0-9-]{1,64})"')
_HASH_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An annotation that holds no command: an id to answer it once by, and what is wrong with it."""

    id: str
    message: str


def read_command(annotations: Mapping[str, str]) -> Command | Unreadable | None:
    """Read the annotation; None where there is none. Whatever it holds, this raises nothing."""
    text = annotations.get(ANNOTATION_COMMAND)
    if not text:
        return None
    try:
        return Command.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        said = f"The annotation {ANNOTATION_COMMAND} can't be read, {where}: {first['msg']}. Use kubectl perennial."
        found = _ID.search(text)
        made = f"unreadable-{hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]}"
        return Unreadable(found.group(1) if found else made, said)


def answer_command(
    annotations: Mapping[str, str], last: LastCommand | None, situation: Situation
) -> Answer | None:
    """Return what becomes of the command, or None where there is none or it has had its answer."""
    said = read_command(annotations)
    if said is None or (last is not None and last.id == said.id):
        return None
    if isinstance(said, Unreadable):
        return refuse_unreadable(said.id, said.message, situation.now)
    return assess_command(said, situation)
