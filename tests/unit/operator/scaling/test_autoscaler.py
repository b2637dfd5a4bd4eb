"""A pass comes where pods should change, and only there."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from perennial.cluster.routers import RouterSnapshot, _Counters, _Status
from perennial.controller.autoscaler import Autoscaler
from perennial.controller.queue import Key
from perennial.controller.scaling import Scaled
from perennial.rollout.scaling import Arm, Load, ScalePolicy, Situation, assess_scaling, plan_scaling
from perennial_api.modeldeployment.scaling_status import ScalingStatus
from perennial_api.modeldeployment.server import ScaleMetric

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WINE, TEA = Key("shop", "wine"), Key("shop", "tea")
BUSY = ScalePolicy(1, 10, ScaleMetric.CONCURRENCY, 8, 60.0)
ALONE = Situation("wine-1", frozenset(), {"wine-1": Arm(1, 100)})


def scaled(policy: ScalePolicy) -> Scaled:
    return Scaled(policy, ALONE, plan_scaling(policy, None, ALONE, NOON))


@dataclass
class World:
    """Routers, a clock and a queue."""

    active: int = 0
    seconds: float = 0.0
    reads: int = 0
    added: list[Key] = field(default_factory=list)
    status: ScalingStatus | None = None

    def __post_init__(self) -> None:
        self.scaler = Autoscaler(
            self,
            interval_s=5.0,
            window_s=15.0,
            clock=lambda: NOON + timedelta(seconds=self.seconds),
            monotonic=lambda: self.seconds,
        )

    async def observe(self) -> RouterSnapshot:
        self.reads += 1
        counters = {"shop/wine-1": _Counters(requests=0, errors=0, active=self.active)}
        return RouterSnapshot({"a": True}, {"a": _Status(epoch="e", counters=counters)})

    async def run(self, *loads: int) -> None:
        for active in loads:
            self.active = active
            await self.scaler.look(self.added.append)
            self.seconds += 5.0

    def do_pass(self, replicas: int) -> int:
        """What a pass does; returns the number that it sets."""
        loads = self.scaler.loads(WINE, BUSY, ["wine-1"])
        situation = Situation("wine-1", frozenset(), {"wine-1": Arm(replicas, 100, loads.get("wine-1"))})
        got = plan_scaling(BUSY, self.status, situation, NOON + timedelta(seconds=self.seconds))
        self.status = got.status
        self.scaler.follow(WINE, Scaled(BUSY, situation, got, assess_scaling(BUSY, situation, None)))
        self.added.clear()
        return got.replicas["wine-1"]


async def test_load_is_the_mean_over_the_window_and_unknown_before():
    world = World()
    world.do_pass(1)
    await world.run(100)
    assert world.scaler.loads(WINE, BUSY, ["wine-1"]) == {}
    await world.run(0, 10, 10, 10, 10)
    assert world.scaler.loads(WINE, BUSY, ["wine-1"]) == {"wine-1": Load(10.0)}


async def test_pass_comes_when_the_load_calls_for_pods_and_not_again():
    world = World()
    world.do_pass(1)
    await world.run(4, 4, 4)
    assert world.do_pass(1) == 1
    await world.run(4, 4)
    assert world.added == []
    await world.run(30, 30, 30, 30, 30)
    assert set(world.added) == {WINE}
    assert world.do_pass(1) == 4
    await world.run(30, 31, 29)
    assert world.added == []


async def test_pass_comes_when_the_load_falls_and_when_the_window_is_over():
    world = World()
    await world.run()
    world.do_pass(4)
    await world.run(30, 30, 30, 30)
    world.do_pass(4)
    await world.run(4, 4, 4, 4, 4)
    assert WINE in world.added
    assert world.do_pass(4) == 4
    for _ in range(15):
        await world.run(4)
    assert WINE in world.added
    assert world.do_pass(4) < 4


async def test_pass_comes_to_tell_that_the_load_is_known():
    world = World()
    world.do_pass(1)
    await world.run(4)
    assert world.added == []
    await world.run(4, 4)
    assert world.added == [WINE]
    world.do_pass(1)
    await world.run(4, 4)
    assert world.added == []


async def test_routers_are_left_alone_while_nothing_is_followed():
    world = World()
    await world.run(1, 1)
    world.scaler.follow(TEA, scaled(ScalePolicy(1, 5, ScaleMetric.CPU, 80)))
    await world.run(1)
    assert world.reads == 0
    world.do_pass(1)
    await world.run(1)
    assert world.reads == 1
    world.scaler.forget(WINE)
    await world.run(1)
    assert world.reads == 1


async def test_deployment_that_comes_to_be_scaled_otherwise_is_followed_no_more():
    world = World()
    world.do_pass(1)
    world.scaler.follow(WINE, scaled(ScalePolicy(1, 1)))
    await world.run(99, 99, 99, 99)
    assert world.added == []
    assert world.scaler.loads(WINE, ScalePolicy(1, 1), ["wine-1"]) == {}
