"""What holds of the number of pods whatever the load does."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from perennial.rollout.scaling import (
    Arm,
    Load,
    ScaledBy,
    ScalePolicy,
    Situation,
    needed_replicas,
    plan_scaling,
)
from perennial.rollout.scaling.stabilise import stabilise
from perennial_api.modeldeployment.scaling_status import RevisionScale, ScalingStatus
from perennial_api.modeldeployment.server import ScaleMetric

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WINDOW_S = 60.0
loads = st.none() | st.builds(Load, st.floats(0, 1e6), st.booleans())


@st.composite
def policies(draw: st.DrawFn) -> ScalePolicy:
    minimum = draw(st.integers(1, 20))
    maximum = draw(st.integers(minimum, 40))
    return ScalePolicy(
        minimum, maximum, draw(st.sampled_from([*ScaleMetric])), draw(st.integers(1, 100)), WINDOW_S
    )


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    def arm(share: int) -> Arm:
        return Arm(draw(st.none() | st.integers(0, 60)), share, draw(loads))

    share = draw(st.integers(0, 100))
    on_trial = draw(st.sampled_from([frozenset[str](), frozenset({"wine-2"})]))
    arms = {"wine-1": arm(100 - share), "wine-2": arm(share)}
    return Situation("wine-1", on_trial, arms, draw(st.booleans()))


histories = st.lists(st.tuples(st.integers(0, 90), situations()), min_size=1, max_size=12)


@given(policies(), histories)
def test_numbers_stay_within_the_bounds_and_the_floor_is_kept(
    policy: ScalePolicy, history: list[tuple[int, Situation]]
) -> None:
    status: ScalingStatus | None = None
    now = NOON
    for seconds, situation in history:
        now += timedelta(seconds=seconds)
        got = plan_scaling(policy, status, situation, now)
        status = got.status
        assert status is not None
        assert set(got.minimums) == set(situation.arms)
        assert all(policy.minimum <= n <= policy.maximum for n in got.minimums.values())
        assert bool(got.replicas) == (policy.scaled_by is ScaledBy.OPERATOR)
        if situation.is_guarded:
            assert got.minimums["wine-1"] >= status.floor >= policy.minimum
        if situation.on_trial:
            share = situation.arms["wine-2"].share_percent
            assert got.minimums["wine-2"] >= needed_replicas(share, got.capacity, policy)


@given(policies(), situations(), situations())
def test_the_same_pass_twice_changes_nothing(
    policy: ScalePolicy, before: Situation, situation: Situation
) -> None:
    status = plan_scaling(policy, None, before, NOON).status
    once = plan_scaling(policy, status, situation, NOON + timedelta(seconds=1))
    # Whoever writes the numbers has done it meanwhile.
    arms = {
        name: Arm(once.replicas.get(name, arm.replicas), arm.share_percent, arm.load)
        for name, arm in situation.arms.items()
    }
    written = Situation(situation.stable, situation.on_trial, arms, situation.keeps_floor)
    twice = plan_scaling(policy, once.status, written, NOON + timedelta(seconds=1))
    assert {n: twice.replicas[n] for n in twice.replicas} == {n: once.replicas[n] for n in once.replicas}


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 50)), min_size=1, max_size=40))
def test_pods_never_fall_below_what_was_wanted_within_the_window(steps: list[tuple[int, int]]) -> None:
    scale = RevisionScale(revision="wine-1", replicas=50)
    now, wishes = NOON, [(NOON, 50)]
    for seconds, wanted in steps:
        now += timedelta(seconds=seconds)
        wishes.append((now, wanted))
        scale = stabilise(scale, wanted, WINDOW_S, now)
        recent = [n for at, n in wishes if (now - at).total_seconds() <= WINDOW_S and at > NOON]
        assert scale.replicas >= max(recent)


@given(st.integers(1, 50), st.integers(1, 50))
def test_pods_follow_a_load_that_stays(start: int, wanted: int) -> None:
    scale = RevisionScale(revision="wine-1", replicas=start)
    for second in range(0, 3 * int(WINDOW_S), 5):
        scale = stabilise(scale, wanted, WINDOW_S, NOON + timedelta(seconds=second))
    assert scale.replicas == wanted
    assert scale.wanted_less_since is None


@given(policies(), st.integers(0, 99), st.integers(0, 1000))
def test_a_larger_share_never_needs_fewer_pods(policy: ScalePolicy, weight: int, capacity: int) -> None:
    assert needed_replicas(weight, capacity, policy) <= needed_replicas(weight + 1, capacity, policy)
