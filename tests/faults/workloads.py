"""What a user does to a ModelDeployment, small enough to be done again for every write that the operator makes.

A workload is prepared without faults; then the user acts, once, and waits. Adding one is adding a row to the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.e2e.support.objects import canary
from tests.faults.support.world import CHALLENGER, ERRING, FIRST, SECOND, THIRD, World

Step = Callable[[World], Any]

# Looked at once in a while: without traffic there is nothing to see, and each look is a write.
RARE_LOOKS = {"interval": "60s"}
STAYS_AT_20 = canary(20, pause="30m", **RARE_LOOKS)
ENDS_SOON = canary(50, pause="1s", min_samples=20, bake="1s", scale_down_delay="1s")
WAITS_FOR_SOMEBODY = {**STAYS_AT_20, "canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}}
IMMEDIATE = {"type": "Immediate", "scaleDownDelay": "1s"}
BLUE_GREEN = {
    "type": "BlueGreen",
    "blueGreen": {"keep": "1s"},
    "analysis": STAYS_AT_20["analysis"],
    "scaleDownDelay": "1s",
}
AB_TEST = {
    "type": "ABTest",
    "variants": [{"name": CHALLENGER, "weight": 30, "model": {"uri": SECOND}}],
    "abTest": {"routeType": "Header", "routeBy": "x-user-id", "maxDuration": "1h"},
}
WAITS_FOR_THE_GATE = canary(50, pause="30m", min_samples=20, bake="1s", scale_down_delay="1s")


@dataclass(frozen=True)
class Workload:
    """One workload.

    Attributes
    ----------
    prepare
        Brings the world to where the user acts; no fault yet.
    act
        What the user does. It may wait for a state on the way, not for the end.
    is_done
        Whether the end is reached, as far as the user can tell.
    traffic_per_s
        Requests a second from the preparation's end on.
    """

    name: str
    prepare: Step
    act: Step
    is_done: Callable[[World], bool]
    traffic_per_s: float = 0


def serve(world: World, **spec: Any) -> None:
    world.apply(**{"rollout": STAYS_AT_20, **spec})
    world.wait(world.is_ready, "the first revision serves")


def is_at_20(world: World) -> bool:
    rollout = world.rollout()
    return rollout.get("canaryWeightPercent") == 20 and rollout.get("stepState") != "Shifting"


def is_scaled(world: World) -> bool:
    found = world.list("Deployment")
    return [d.get("status", {}).get("readyReplicas") for d in found] == [2] and world.is_ready()


def serve_two(world: World) -> None:
    serve(world, rollout=IMMEDIATE)
    world.apply(SECOND, rollout=IMMEDIATE)
    world.wait(lambda: is_promoted_to(world, SECOND), "the second revision serves")


def try_out(world: World) -> None:
    serve(world, rollout=WAITS_FOR_SOMEBODY)
    world.apply(SECOND, rollout=WAITS_FOR_SOMEBODY)
    world.wait(lambda: is_at_20(world), "the second revision on trial")


def experiment(world: World) -> None:
    serve(world)
    world.apply(rollout=STAYS_AT_20, experiment=AB_TEST)
    world.wait(lambda: is_compared(world), "the experiment runs")


def is_promoted_to(world: World, uri: str) -> bool:
    stable = world.rollout().get("stable")
    model = world.get("ModelRevision", stable).get("spec", {}).get("model", {}) if stable else {}
    return model.get("uri") == uri and world.is_promoted()


def is_compared(world: World) -> bool:
    weights = [r["weightPercent"] for r in world.get("ModelRoute").get("spec", {}).get("revisions", [])]
    return world.arm().get("state") == "Running" and sorted(weights) == [30, 70] and world.is_ready()


def is_rolled_back(world: World) -> bool:
    return world.rollout().get("phase") == "Degraded" and len(world.list("Deployment")) == 1


def is_gone(world: World) -> bool:
    kinds = ("ModelRevision", "ModelRoute", "Deployment", "Service")
    return not world.get("ModelDeployment") and not any(world.list(kind) for kind in kinds)


def serves_anew(world: World) -> bool:
    """Whether nothing is left of the deleted namesake."""
    uid = world.get("ModelDeployment").get("metadata", {}).get("uid")
    children = [*world.list("Deployment"), *world.list("ModelRevision"), *world.list("Service")]
    owners = {ref["uid"] for child in children for ref in child["metadata"].get("ownerReferences", [])}
    revisions = {revision["metadata"]["uid"] for revision in world.list("ModelRevision")}
    return owners <= {uid, *revisions} and world.is_ready()


def supersede(world: World) -> None:
    world.apply(SECOND, rollout=STAYS_AT_20)
    world.wait(lambda: is_at_20(world), "the second revision on trial")
    world.apply(THIRD, rollout=ENDS_SOON)


def recreate(world: World) -> None:
    world.delete()
    world.wait(lambda: not world.get("ModelDeployment"), "the name free again")
    world.apply(rollout=STAYS_AT_20)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("create", lambda w: None, lambda w: w.apply(rollout=STAYS_AT_20), World.is_ready),
        Workload(
            "scale", serve, lambda w: w.apply(rollout=STAYS_AT_20, server={"minReplicas": 2}), is_scaled
        ),
        Workload("canary-step", serve, lambda w: w.apply(SECOND, rollout=STAYS_AT_20), is_at_20),
        Workload(
            "canary-promote",
            lambda w: serve(w, rollout=ENDS_SOON),
            lambda w: w.apply(SECOND, rollout=ENDS_SOON),
            lambda w: w.rollout().get("attempt") == 2 and w.is_promoted(),
            traffic_per_s=40,
        ),
        Workload(
            "abort-by-gate",
            lambda w: serve(w, rollout=WAITS_FOR_THE_GATE),
            lambda w: w.apply(SECOND, ERRING, rollout=WAITS_FOR_THE_GATE),
            is_rolled_back,
            traffic_per_s=40,
        ),
        Workload(
            "supersede",
            serve,
            supersede,
            lambda w: w.rollout().get("attempt") == 3 and w.is_promoted(),
            traffic_per_s=40,
        ),
        Workload(
            "verb-promote",
            try_out,
            lambda w: w.say("Promote", full=True),
            lambda w: is_promoted_to(w, SECOND),
        ),
        Workload("verb-abort", try_out, lambda w: w.say("Abort"), is_rolled_back),
        Workload("verb-undo", serve_two, lambda w: w.say("Undo"), lambda w: is_promoted_to(w, FIRST)),
        Workload(
            "blue-green",
            lambda w: serve(w, rollout=BLUE_GREEN),
            lambda w: w.apply(SECOND, rollout=BLUE_GREEN),
            lambda w: is_promoted_to(w, SECOND),
        ),
        Workload("ab-start", serve, lambda w: w.apply(rollout=STAYS_AT_20, experiment=AB_TEST), is_compared),
        Workload("ab-end", experiment, lambda w: w.apply(rollout=STAYS_AT_20), World.is_promoted),
        Workload("recreate", serve, recreate, serves_anew),
        Workload("delete", serve, World.delete, is_gone),
    )
}
