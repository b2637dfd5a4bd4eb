"""A new revision takes the canary road under live traffic, is promoted or rolled back, and nobody is hurt."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from perennial_demo import install

from tests.e2e.support.kube import Kube, wait_for
from tests.e2e.support.objects import ECHO_BODY, canary, deployment
from tests.e2e.support.traffic import Traffic

FIRST = "perennial://sha256:" + "a" * 64
SECOND = "perennial://sha256:" + "b" * 64
THIRD = "perennial://sha256:" + "c" * 64
NAME = "echo"


@pytest.fixture
def start(
    kube: Kube, test_runtimes: None, namespace: str, gateway_url: str
) -> Callable[[dict[str, Any]], tuple[str, Traffic]]:
    """Deploy the first revision with a rollout and return it with traffic that isn't running yet."""

    def run(rollout: dict[str, Any]) -> tuple[str, Traffic]:
        kube.apply(deployment(NAME, namespace, FIRST, "test-good", rollout=rollout))
        kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=120)
        stable = rollout_of(kube, namespace)["stable"]
        return stable, Traffic(
            f"{gateway_url}/{namespace}/{NAME}/v2/models/{NAME}/infer", ECHO_BODY, rate_per_s=60
        )

    return run


def rollout_of(kube: Kube, namespace: str) -> dict[str, Any]:
    obj = kube.get("modeldeployment", NAME, namespace)
    assert obj is not None
    return obj["status"]["rollout"]


def canary_weights(kube: Kube, namespace: str, *, until: Callable[[dict[str, Any]], bool]) -> Iterator[int]:
    """Yield the route's weight of whatever isn't the first revision, until the status fits."""
    first = rollout_of(kube, namespace)["stable"]
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        route = kube.get("modelroute", NAME, namespace)
        assert route is not None
        yield sum(r["weightPercent"] for r in route["spec"]["revisions"] if r["name"] != first)
        if until(rollout_of(kube, namespace)):
            return
        time.sleep(0.3)
    raise AssertionError(f"rollout did not end: {rollout_of(kube, namespace)}")


def promoted(first: str) -> Callable[[dict[str, Any]], bool]:
    return lambda rollout: rollout.get("stable") not in (None, first) and rollout["phase"] == "Healthy"


def test_healthy_revision_takes_every_step_and_is_promoted_without_a_failed_request(
    kube: Kube, namespace: str, start: Any
) -> None:
    first, traffic = start(canary(20, 60))
    with traffic:
        wait_for(lambda: traffic.total > 100, timeout_s=30, what="traffic")
        kube.patch("modeldeployment", NAME, namespace, {"spec": {"model": {"uri": SECOND}}})
        weights = list(canary_weights(kube, namespace, until=promoted(first)))
        second = rollout_of(kube, namespace)["stable"]
        before = traffic.snapshot()
        wait_for(
            lambda: traffic.total > sum(before.values()) + 60, timeout_s=30, what="traffic after promotion"
        )
        assert traffic.share_of(second, since=before) == 1.0
    assert weights == sorted(weights)
    assert {20, 60} <= set(weights)
    assert traffic.failed() == 0, traffic.failures[:5]
    assert all(name in (first, second) for name, _ in traffic.snapshot())
    revision = kube.get("modelrevision", second, namespace)
    assert revision is not None
    assert revision["status"]["role"] == "Stable"
    assert revision["status"]["evidence"], "a promotion must say why"


def test_the_split_at_a_step_is_what_the_step_says(kube: Kube, namespace: str, start: Any) -> None:
    first, traffic = start(canary(30, pause="20s"))
    with traffic:
        kube.patch("modeldeployment", NAME, namespace, {"spec": {"model": {"uri": SECOND}}})
        wait_for(
            lambda: rollout_of(kube, namespace).get("canaryWeightPercent") == 30,
            timeout_s=60,
            what="the first step",
        )
        before = traffic.snapshot()
        wait_for(
            lambda: traffic.total > sum(before.values()) + 500, timeout_s=30, what="500 requests at the step"
        )
        share = traffic.share_of(first, since=before)
    n = traffic.total - sum(before.values())
    assert abs(share - 0.7) < 3.9 * math.sqrt(0.3 * 0.7 / n), f"{share:.3f} of {n}"


def test_revision_that_errs_is_rolled_back_and_stays_out(kube: Kube, namespace: str, start: Any) -> None:
    first, traffic = start(canary(20, 60, pause="60s"))
    with traffic:
        kube.patch("modeldeployment", NAME, namespace, {"spec": {"server": {"runtime": "test-erring"}}})
        rollout = wait_for(
            lambda: r if (r := rollout_of(kube, namespace))["phase"] == "Degraded" else None,
            timeout_s=120,
            what="rolled back",
        )
        assert rollout["stable"] == first
        wait_for(
            lambda: (
                {r["name"]: r["weightPercent"] for r in route["spec"]["revisions"]}.get(first) == 100
                if (route := kube.get("modelroute", NAME, namespace))
                else None
            ),
            timeout_s=30,
            what="all weight back",
        )
        # In a status that says Degraded this is about the rollback's weights, applied by every router.
        kube.wait_condition(NAME, namespace, "RouteReady", "True", timeout_s=30)
        before = traffic.snapshot()
        wait_for(
            lambda: traffic.total > sum(before.values()) + 200,
            timeout_s=30,
            what="traffic after the rollback",
        )
        assert traffic.share_of(first, since=before) == 1.0
    bad = rollout["failedRevision"]
    assert traffic.failed(except_revision=bad) == 0, traffic.failures[:5]
    revision = kube.get("modelrevision", bad, namespace)
    assert revision is not None
    assert revision["status"]["role"] == "Failed"
    assert revision["status"]["message"]
    evidence = rollout["evidence"][-1]
    assert evidence["decision"] == "Failed"
    assert evidence["canary"]["bad"] > 0


def test_newer_spec_in_the_middle_of_a_rollout_wins(kube: Kube, namespace: str, start: Any) -> None:
    first, traffic = start(canary(20, pause="40s"))
    with traffic:
        kube.patch("modeldeployment", NAME, namespace, {"spec": {"model": {"uri": SECOND}}})
        second = wait_for(
            lambda: (
                r.get("canary") if (r := rollout_of(kube, namespace)).get("canaryWeightPercent") else None
            ),
            timeout_s=60,
            what="the second revision on trial",
        )
        kube.patch(
            "modeldeployment",
            NAME,
            namespace,
            {"spec": {"model": {"uri": THIRD}, "rollout": canary(20, pause="3s")}},
        )
        wait_for(
            lambda: promoted(first)(rollout_of(kube, namespace)),
            timeout_s=120,
            what="the third revision promoted",
        )
    third = rollout_of(kube, namespace)["stable"]
    assert third not in (first, second)
    assert traffic.failed() == 0, traffic.failures[:5]


def test_operator_killed_in_the_middle_resumes_without_a_weight_jump(
    kube: Kube, namespace: str, start: Any
) -> None:
    first, traffic = start(canary(10, 30, 60, pause="5s"))
    with traffic:
        kube.patch("modeldeployment", NAME, namespace, {"spec": {"model": {"uri": SECOND}}})
        seen: list[int] = []
        killed = False
        for weight in canary_weights(kube, namespace, until=promoted(first)):
            seen.append(weight)
            if weight == 30 and not killed:
                kube.run(
                    "delete", "pod", "-n", install.NAMESPACE, "-l", "app.kubernetes.io/component=operator",
                    "--grace-period=0", "--force",
                )  # fmt: skip
                killed = True
    assert killed
    assert seen == sorted(seen)
    assert {10, 30, 60} <= set(seen)
    assert traffic.failed() == 0, traffic.failures[:5]


def test_revision_that_never_gets_ready_leaves_the_stable_one_alone(
    kube: Kube, namespace: str, start: Any
) -> None:
    first, traffic = start(canary(20))
    with traffic:
        kube.patch("modeldeployment", NAME, namespace, {"spec": {"server": {"runtime": "test-failing"}}})

        def failure() -> dict[str, Any] | None:
            obj = kube.get("modeldeployment", NAME, namespace)
            assert obj is not None
            got = obj["status"].get("modelStatus", {}).get("lastFailureInfo")
            return got if got and got["reason"] == "ModelLoadFailed" else None

        info = wait_for(failure, timeout_s=90, what="lastFailureInfo")
        assert info["message"]
        before = traffic.snapshot()
        wait_for(lambda: traffic.total > sum(before.values()) + 60, timeout_s=30, what="traffic")
        assert traffic.share_of(first, since=before) == 1.0
    assert traffic.failed() == 0, traffic.failures[:5]
