"""What the annotation may hold, and that each command is answered once."""

import json

import pytest
from perennial.controller.commands import Unreadable, answer_command, read_command
from perennial.rollout.verbs import Situation
from perennial_api.labels import ANNOTATION_COMMAND
from perennial_api.modeldeployment.command_status import Command, LastCommand, Verb
from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus

from tests.unit.operator.builders import NOW
from tests.unit.operator.world import rollout_spec

SITUATION = Situation(
    "wine", rollout_spec(20), RolloutStatus(phase=RolloutPhase.HEALTHY, stable="wine-1"), {}, None, NOW
)


def annotated(value: object) -> dict[str, str]:
    return {ANNOTATION_COMMAND: value if isinstance(value, str) else json.dumps(value)}


def test_command_is_read() -> None:
    got = read_command(annotated({"id": "a-1", "verb": "Promote", "stepIndex": 2, "full": True}))
    assert got == Command(id="a-1", verb=Verb.PROMOTE, step_index=2, full=True)


def test_no_annotation_is_no_command() -> None:
    assert read_command({}) is None
    assert read_command({"other": "x"}) is None


@pytest.mark.parametrize(
    "text",
    [
        "promote",
        "{",
        "[]",
        "null",
        '{"verb": "Promote"}',
        '{"id": "a b", "verb": "Promote"}',
        '{"id": "a-1", "verb": "Explode"}',
        '{"id": "a-1", "verb": "Promote", "unheard": 1}',
        '{"id": "a-1", "verb": "Promote", "stepIndex": -1}',
        '{"id": "a-1", "verb": "Undo", "revision": "Not A Name"}',
        '{"id": 7, "verb": "Promote"}',
        "\x00",
        '{"id": "' + "x" * 100_000 + '"}',
    ],
)
def test_whatever_cannot_be_read_is_refused_once_and_breaks_nothing(text: str) -> None:
    got = read_command(annotated(text))
    assert isinstance(got, Unreadable)
    answer = answer_command(annotated(text), None, SITUATION)
    assert answer is not None
    assert (answer.last_command.accepted, answer.last_command.reason) == (False, "InvalidCommand")
    assert answer.rollout is None
    assert answer_command(annotated(text), answer.last_command, SITUATION) is None


def test_unreadable_command_with_an_id_is_answered_by_it() -> None:
    got = read_command(annotated('{"id": "a-1", "verb": "Explode"}'))
    assert isinstance(got, Unreadable)
    assert got.id == "a-1"


def test_command_that_has_its_answer_is_not_carried_out_again() -> None:
    annotations = annotated({"id": "a-1", "verb": "Abort"})
    last = LastCommand(id="a-1", verb=Verb.ABORT, accepted=True)
    assert answer_command(annotations, last, SITUATION) is None
    newer = answer_command(annotated({"id": "a-2", "verb": "Abort"}), last, SITUATION)
    assert newer is not None
    assert newer.last_command.id == "a-2"
