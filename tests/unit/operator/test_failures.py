"""Why pods don't start, as users are told it."""

from datetime import timedelta

import pytest
from perennial.rollout.failures import ContainerView, PodView, assess_failure, read_termination

from tests.unit.operator.builders import NOW


def pod(name: str = "a", age_s: float = 0, *containers: ContainerView, **changes: object) -> PodView:
    return PodView(name, created_at=NOW - timedelta(seconds=age_s), containers=containers, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "waiting", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"]
)
def test_image_that_cannot_be_had_is_named(waiting: str) -> None:
    failure = assess_failure([pod("a", 0, ContainerView(waiting, "no such image"))])
    assert failure is not None
    assert (failure.reason, failure.message) == ("ImagePullFailed", "no such image")


def test_server_that_says_why_it_ends_is_quoted() -> None:
    said = '{"reason": "DigestMismatch", "message": "the bytes are others"}'
    failure = assess_failure(
        [pod("a", 0, ContainerView("CrashLoopBackOff", "back-off", 1, "Error", said, NOW))]
    )
    assert failure is not None
    assert (failure.reason, failure.message, failure.exit_code) == (
        "DigestMismatch",
        "the bytes are others",
        1,
    )


@pytest.mark.parametrize(
    ("ended", "reason"),
    [("OOMKilled", "OOMKilled"), ("Error", "ModelServerCrashed"), ("", "ModelServerCrashed")],
)
def test_server_that_says_nothing_is_described(ended: str, reason: str) -> None:
    failure = assess_failure([pod("a", 0, ContainerView("CrashLoopBackOff", "", 137, ended, "garbage"))])
    assert failure is not None
    assert failure.reason == reason


def test_pod_without_a_node_is_unschedulable() -> None:
    failure = assess_failure([pod(unschedulable_message="0/1 nodes: insufficient memory")])
    assert failure is not None
    assert failure.reason == "Unschedulable"


def test_ready_starting_and_leaving_pods_are_no_failure() -> None:
    broken = ContainerView("CrashLoopBackOff", "", 1, "Error")
    pods = [
        pod("a", 0, broken, ready=True),
        pod("b", 0, broken, terminating=True),
        pod("c", 0, ContainerView()),
    ]
    assert assess_failure(pods) is None


def test_newest_pod_speaks() -> None:
    old = pod("old", 100, ContainerView("", "", 1, "OOMKilled"))
    new = pod("new", 1, ContainerView("ErrImagePull", "gone"))
    failure = assess_failure([old, new])
    assert failure is not None
    assert failure.reason == "ImagePullFailed"


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "{}", '{"reason": "not camel"}', '{"reason": 1}', '{"reason": "Ok", "message": 2}'],
)
def test_anything_but_a_reason_and_a_message_is_ignored(text: str) -> None:
    assert read_termination(text) is None
