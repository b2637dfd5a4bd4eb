"""Verbs in whole passes: from the annotation to the end state, and through the operator's death at every write."""

import copy
import json
from typing import Any

import pytest
from perennial_api.labels import ANNOTATION_COMMAND

from tests.unit.operator.builders import uri
from tests.unit.operator.fake_cluster import FakeCluster, Json
from tests.unit.operator.kill_points import choose_kill_points
from tests.unit.operator.test_reconcile import RUNTIME, cluster_with, end_state, names, status_of, wine

IMMEDIATE = {"type": "Immediate", "scaleDownDelay": "1s"}
WAITING = {
    "canary": {"steps": [{"setWeight": 20}, {"pause": {}}]},
    "scaleDownDelay": "1s",
    "analysis": {"interval": "1s", "initialDelay": "0s", "minSamples": 50, "bake": "1s"},
}


def say(cluster: FakeCluster, verb: str, number: int = 1, **words: Any) -> None:
    """Annotate the deployment as `kubectl perennial` does."""
    stored = cluster.objects["ModelDeployment", "shop", "wine"]
    command = json.dumps({"id": f"c-{number}", "verb": verb, **words})
    stored["metadata"].setdefault("annotations", {})[ANNOTATION_COMMAND] = command


def model(cluster: FakeCluster, letter: str) -> None:
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["model"].update(uri=uri(letter)))


def answer(cluster: FakeCluster) -> Json:
    found: Json = status_of(cluster)["lastCommand"]
    return found


def stable_uri(cluster: FakeCluster) -> str:
    return str(status_of(cluster)["modelStatus"]["uri"])


def revision_status(cluster: FakeCluster, name: str) -> Json:
    stored = cluster.find("ModelRevision", name)
    assert stored is not None
    found: Json = stored["status"]
    return found


async def served(rollout: Json, *letters: str) -> FakeCluster:
    """Return a cluster in which these models have been served one after the other."""
    cluster = cluster_with(RUNTIME, wine(rollout=rollout), requests_per_turn=500)
    await cluster.run(6)
    for letter in letters:
        model(cluster, letter)
        await cluster.run(12)
    return cluster


async def test_abort_and_retry_from_the_annotation() -> None:
    cluster = await served(WAITING, "b")
    second = status_of(cluster)["rollout"]["canary"]
    say(cluster, "Abort", 1, revision=second)
    await cluster.run(10)
    assert (answer(cluster)["accepted"], answer(cluster)["reason"]) == (True, "Aborted")
    rollout = status_of(cluster)["rollout"]
    assert (rollout["phase"], rollout["failedRevision"]) == ("Degraded", second)
    status = revision_status(cluster, second)
    assert (status["role"], status["reason"]) == ("Failed", "Aborted")
    assert [e["reason"] for e in status["evidence"]] == ["Aborted"]
    await cluster.run(20, cluster.reconciler())
    assert status_of(cluster)["rollout"]["phase"] == "Degraded"
    say(cluster, "Retry", 2)
    await cluster.run(10)
    assert status_of(cluster)["rollout"]["canary"] == second
    assert revision_status(cluster, second)["attempt"] == 2


async def test_evidence_of_a_promotion_by_command_stays_on_the_revision() -> None:
    cluster = await served(WAITING, "b")
    second = status_of(cluster)["rollout"]["canary"]
    say(cluster, "Promote", 1, revision=second, stepIndex=1)
    await cluster.run(15)
    assert stable_uri(cluster) == uri("b")
    status = revision_status(cluster, second)
    assert {e["reason"] for e in status["evidence"]} >= {"PromotedByCommand", "WithinLimits"}
    model(cluster, "a")
    await cluster.run(10)
    assert revision_status(cluster, second)["evidence"] == status["evidence"]


async def test_undo_holds_until_the_model_changes_and_other_edits_rebase_on_it() -> None:
    cluster = await served(IMMEDIATE, "b")
    say(cluster, "Undo", 1)
    await cluster.run(12)
    assert stable_uri(cluster) == uri("a")
    await cluster.run(30, cluster.reconciler())
    assert stable_uri(cluster) == uri("a")
    cluster.edit("ModelDeployment", "wine", lambda spec: spec.update(logger={"exclude": ["y"]}))
    await cluster.run(12)
    assert stable_uri(cluster) == uri("a")
    assert len(names(cluster, "ModelRevision")) == 3
    model(cluster, "c")
    await cluster.run(12)
    assert stable_uri(cluster) == uri("c")


async def test_undo_outlives_a_lost_status() -> None:
    cluster = await served(IMMEDIATE, "b")
    say(cluster, "Undo", 1)
    await cluster.run(12)
    cluster.objects["ModelDeployment", "shop", "wine"].pop("status")
    cluster.objects["ModelDeployment", "shop", "wine"]["metadata"].pop("annotations")
    await cluster.run(12)
    assert stable_uri(cluster) == uri("a")
    assert status_of(cluster)["rollout"]["phase"] == "Healthy"


async def test_model_that_was_undone_can_be_asked_for_again() -> None:
    cluster = await served(IMMEDIATE, "b")
    say(cluster, "Undo", 1)
    await cluster.run(12)
    model(cluster, "a")
    await cluster.run(5)
    assert len(names(cluster, "ModelRevision")) == 2
    model(cluster, "b")
    await cluster.run(12)
    assert stable_uri(cluster) == uri("b")


async def test_undo_and_undo_again_comes_back_to_where_it_began() -> None:
    cluster = await served(IMMEDIATE, "b")
    say(cluster, "Undo", 1)
    await cluster.run(15)
    say(cluster, "Undo", 2)
    await cluster.run(15)
    assert stable_uri(cluster) == uri("b")
    assert len(names(cluster, "ModelRevision")) == 2


async def test_undo_of_an_edit_that_kept_the_model_goes_back_to_the_settings_before() -> None:
    cluster = await served(IMMEDIATE, "b")
    first = next(
        n for n in names(cluster, "ModelRevision") if revision_status(cluster, n)["role"] == "Retired"
    )
    say(cluster, "Undo", 1)
    await cluster.run(12)
    cluster.edit("ModelDeployment", "wine", lambda spec: spec.update(logger={"exclude": ["y"]}))
    await cluster.run(12)
    assert status_of(cluster)["rollout"]["stable"] != first
    say(cluster, "Undo", 2, revision=first)
    await cluster.run(12)
    assert status_of(cluster)["rollout"]["stable"] == first


async def test_undo_keeps_the_evidence_of_the_first_promotion() -> None:
    cluster = await served({**WAITING, "canary": {"steps": [{"setWeight": 50}]}}, "b", "c")
    second = next(
        n for n in names(cluster, "ModelRevision") if revision_status(cluster, n)["reason"] == "Replaced"
        and revision_status(cluster, n).get("evidence")
    )  # fmt: skip
    before = revision_status(cluster, second)["evidence"]
    say(cluster, "Undo", 1, revision=second)
    await cluster.run(15)
    assert status_of(cluster)["rollout"]["stable"] == second
    after = revision_status(cluster, second)["evidence"]
    assert after[: len(before)] == before
    assert after[-1]["reason"] == "UndoneByCommand"


async def test_refused_and_unreadable_commands_are_answered_once_and_change_nothing() -> None:
    cluster = await served(WAITING)
    before = status_of(cluster)["rollout"]
    say(cluster, "Promote", 1)
    await cluster.run(5)
    assert (answer(cluster)["accepted"], answer(cluster)["reason"]) == (False, "NothingOnTrial")
    stored = cluster.objects["ModelDeployment", "shop", "wine"]
    stored["metadata"]["annotations"][ANNOTATION_COMMAND] = "{nonsense"
    await cluster.run(5)
    assert answer(cluster)["reason"] == "InvalidCommand"
    assert "verb" not in answer(cluster)
    assert status_of(cluster)["rollout"] == before
    told = [note for reason, note in cluster.events if reason == "CommandRefused"]
    assert len(told) == 2
    quiet = len(cluster.writes)
    await cluster.run(10)
    assert len(cluster.writes) == quiet


async def play(start: FakeCluster, verb: str, crash_at: int | None, *, after: bool) -> FakeCluster:
    """Say the verb and come to rest; killed once at the given write."""
    cluster = copy.deepcopy(start)
    cluster.crash_after = after
    cluster.crash_at = len(cluster.writes) + crash_at if crash_at is not None else None
    say(cluster, verb, 1, **({"full": True} if verb == "Promote" else {}))
    await cluster.run(12)
    return cluster


@pytest.mark.parametrize("verb", ["Promote", "Abort", "Undo", "Pause"])
async def test_operator_killed_at_any_write_of_a_verb_comes_to_the_same_end(verb: str) -> None:
    start = await served(IMMEDIATE if verb == "Undo" else WAITING, "b")
    want = await play(start, verb, None, after=False)
    count = len(want.writes) - len(start.writes)
    assert count >= 1
    assert answer(want)["accepted"]
    for after in (False, True):
        for number in choose_kill_points(range(1, count + 1), shift=after):
            got = await play(start, verb, number, after=after)
            assert end_state(got) == end_state(want), f"killed at write {number} of {verb}, {after=}"
            assert answer(got)["accepted"]
            assert names(got, "ModelRevision") == names(want, "ModelRevision")
