"""A verb is written with what its sayer saw, and its answer awaited."""

from __future__ import annotations

import pytest
from perennial.cli.errors import CliError, ClusterError, NotAllowedError, RefusedVerbError
from perennial.cli.intents import Intent, build_command, say
from perennial_api.labels import ANNOTATION_COMMAND
from perennial_api.modeldeployment.command_status import LastCommand, Verb

from tests.unit.operator.cli.objects import ROLLOUT, FakeCluster, deployment, deployment_body

EXPERIMENT = {
    "type": "Bandit",
    "variants": [{"name": "forest", "model": {"uri": "perennial://sha256:" + "0a1b" * 16}}],
    "bandit": {"reward": "NoError"},
}


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def read(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def said(cluster: FakeCluster, intent: Intent = Intent(Verb.ABORT)) -> LastCommand:  # noqa: B008 - frozen
    clock = Clock()
    return say(cluster, "shop", "wine", intent, timeout_s=30, clock_s=clock.read, sleep=clock.sleep)


@pytest.mark.parametrize(
    ("intent", "revision", "step_index"),
    [
        (Intent(Verb.PROMOTE), "wine-b", 1),
        (Intent(Verb.PROMOTE, full=True), "wine-b", None),
        (Intent(Verb.ABORT), "wine-b", None),
        (Intent(Verb.RETRY), "wine-b", None),
        (Intent(Verb.PAUSE), "wine-b", None),
        (Intent(Verb.RESUME), "wine-b", None),
        (Intent(Verb.UNDO), None, None),
        (Intent(Verb.UNDO, to="wine-0"), "wine-0", None),
    ],
)
def test_command_carries_what_was_seen(intent, revision, step_index) -> None:
    got = build_command(intent, deployment({"rollout": ROLLOUT}), "id-1")
    assert (got.id, got.verb, got.revision, got.step_index, got.full) == (
        "id-1",
        intent.verb,
        revision,
        step_index,
        intent.full,
    )


def test_retry_means_the_revision_that_was_seen_to_have_failed() -> None:
    rolled_back = {"phase": "Degraded", "stable": "wine-a", "failedRevision": "wine-b"}
    got = build_command(Intent(Verb.RETRY), deployment({"rollout": rolled_back}), "id-1")
    assert got.revision == "wine-b"


def test_nothing_on_trial_is_left_to_the_operator_to_refuse() -> None:
    got = build_command(Intent(Verb.PROMOTE), deployment(), "id-1")
    assert (got.revision, got.step_index) == (None, None)


def test_variant_of_the_experiment_is_named() -> None:
    got = build_command(Intent(Verb.PROMOTE, variant="forest"), deployment(experiment=EXPERIMENT), "id-1")
    assert got.variant == "forest"


def test_variant_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(CliError, match="no variant linear, only forest"):
        build_command(Intent(Verb.PROMOTE, variant="linear"), deployment(experiment=EXPERIMENT), "id-1")
    with pytest.raises(CliError, match="has no experiment"):
        build_command(Intent(Verb.PROMOTE, variant="linear"), deployment(), "id-1")


@pytest.mark.parametrize("accepted", [True, False])
def test_answer_is_returned_be_it_yes_or_no(accepted) -> None:
    answer = {"accepted": accepted, "reason": "Aborted", "message": "wine-b is taken back."}
    cluster = FakeCluster(deployment_body({"rollout": ROLLOUT}), operator=lambda command: answer)
    got = said(cluster)
    assert (got.accepted, got.message) == (accepted, "wine-b is taken back.")
    assert cluster.commands == [{"id": got.id, "verb": "Abort", "revision": "wine-b", "full": False}]


def test_answer_to_an_earlier_verb_is_not_taken_for_ours() -> None:
    body = deployment_body({"lastCommand": {"id": "older", "verb": "Abort", "accepted": True}})
    with pytest.raises(RefusedVerbError, match="No operator has answered in 30 s"):
        said(FakeCluster(body))


def test_two_verbs_have_two_ids() -> None:
    cluster = FakeCluster(deployment_body(), operator=lambda command: {"accepted": True})
    assert said(cluster).id != said(cluster).id


def test_later_verb_that_takes_the_place_is_told() -> None:
    cluster = FakeCluster(deployment_body())

    def overwritten(command):
        cluster.bodies["modeldeployments", "wine"]["metadata"]["annotations"][ANNOTATION_COMMAND] = "{}"

    cluster.operator = overwritten
    with pytest.raises(RefusedVerbError, match="Another verb took the place"):
        said(cluster)


def test_deployment_deleted_meanwhile_is_told() -> None:
    cluster = FakeCluster(deployment_body())
    cluster.operator = lambda command: cluster.bodies.clear()
    with pytest.raises(RefusedVerbError, match="was deleted before"):
        said(cluster)


def test_api_server_that_is_away_for_a_moment_is_waited_for() -> None:
    cluster = FakeCluster(deployment_body(), operator=lambda command: {"accepted": True})
    right, failures = cluster.get, [ClusterError("away")] * 3

    def shaky(plural, namespace, name):
        if cluster.commands and failures:
            raise failures.pop()
        return right(plural, namespace, name)

    cluster.get = shaky
    assert said(cluster).accepted
    assert failures == []


def test_lack_of_a_right_is_told_at_once() -> None:
    cluster = FakeCluster(deployment_body())
    cluster.may_patch = False
    with pytest.raises(NotAllowedError, match="not allowed to patch modeldeployments"):
        said(cluster)


def test_deployment_that_is_not_there_is_told_with_where_to_look() -> None:
    with pytest.raises(CliError, match=r"no ModelDeployment wine in namespace shop.*get -A"):
        said(FakeCluster())
