"""Constant load through whole rollouts while model pods, router pods and the operator are killed in turn.

Pods are killed as Kubernetes kills them, by deletion. A server that vanishes in the middle of an answer loses that
answer: the gateway repeats no prediction that has reached a server, since it might be made twice.
"""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable

from tests.faults.support.oracle import LABEL
from tests.faults.support.pods import PodKiller
from tests.faults.support.world import FIRST, NAME, SECOND, SYSTEM, Site, World, open_world
from tests.faults.workloads import canary, serve

LOAD_S = {False: 60, True: 600}
LOAD_PER_S = 140
LEAST_PER_S = 100
WORKERS = 8
REVISION = "perennial.dev/revision"
TWO_PODS = {"minReplicas": 2}
KILL_EVERY_S = 4
ROAD = canary(10, 30, 60, pause="2s", min_samples=100, bake="2s", scale_down_delay="1s")
VICTIMS = ("model pod", "router pod", "model pod", "operator")
MODEL_PODS = f"{LABEL}={NAME}"
ROUTERS = "app.kubernetes.io/name=perennial,app.kubernetes.io/component=gateway"


class Fire:
    """Kills one thing after the other, in turn, each once it can be spared."""

    def __init__(self, world: World) -> None:
        self.killed: Counter[str] = Counter()
        self._world = world
        self._turns = itertools.count()

    def kill_next(self) -> None:
        turn = next(self._turns)
        what = VICTIMS[turn % len(VICTIMS)]
        match what:
            case "operator":
                self._world.operator.kill()
            case "router pod":
                PodKiller(self._world.site.api, SYSTEM, ROUTERS, "").kill_one(turn)
            case _:
                PodKiller(self._world.site.api, self._world.namespace, MODEL_PODS, REVISION).kill_one(turn)
        self.killed[what] += 1
        # The schedule, and no waiting for anything.
        threading.Event().wait(KILL_EVERY_S)


def roll_out(world: World, uri: str, fire: Fire) -> float:
    """Roll out a revision while the fire goes on; return how long that took, in seconds."""
    started_at_s = time.monotonic()
    was = world.rollout()["stable"]
    world.apply(uri, rollout=ROAD, server=TWO_PODS)
    while world.rollout()["stable"] == was or not world.is_promoted():
        fire.kill_next()
        assert world.rollout()["phase"] != "Degraded", world.rollout()["message"]
    return time.monotonic() - started_at_s


def test_nobody_notices_a_rollout_under_fire(
    site: Site, is_campaign: bool, report: Callable[[str], None]
) -> None:
    with open_world(site, "fire") as world:
        serve(world, rollout=ROAD, server=TWO_PODS)
        fire = Fire(world)
        rollouts_s: list[float] = []
        uris = itertools.cycle((SECOND, FIRST))
        load = world.traffic(LOAD_PER_S, WORKERS)
        with load:
            started_at_s = time.monotonic()
            while (left_s := LOAD_S[is_campaign] - (time.monotonic() - started_at_s)) > 0:
                if left_s > max(rollouts_s, default=0):
                    rollouts_s.append(roll_out(world, next(uris), fire))
                else:
                    fire.kill_next()
            elapsed_s = time.monotonic() - started_at_s
        answers = load.snapshot()
        n = sum(answers.values())
        failed = n - sum(count for (_, status), count in answers.items() if status == 200)
        killed = ", ".join(f"{count} {what}s" for what, count in sorted(fire.killed.items()))
        report(
            f"canary under fire: N={n} requests in {elapsed_s:.0f} s ({n / elapsed_s:.0f}/s), {failed} failed; "
            f"{len(rollouts_s)} rollouts; killed {killed}"
        )
        assert failed == 0, (answers, load.failures[:5])
        assert n >= LEAST_PER_S * elapsed_s
        assert set(fire.killed) == {"operator", "model pod", "router pod"}
        assert world.operator.unexpected_exits == []
