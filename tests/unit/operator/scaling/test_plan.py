"""How many pods each revision gets, alone and in a rollout."""

from datetime import UTC, datetime, timedelta

import pytest
from perennial.rollout.scaling import (
    Arm,
    Load,
    ScaledBy,
    ScalePolicy,
    Situation,
    needed_replicas,
    plan_scaling,
)
from perennial_api.modeldeployment.scaling_status import RevisionScale, ScalingStatus
from perennial_api.modeldeployment.server import ScaleMetric, Server

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BUSY = ScalePolicy(minimum=1, maximum=10, metric=ScaleMetric.CONCURRENCY, target=8, window_s=300.0)
CPU = ScalePolicy(minimum=2, maximum=10, metric=ScaleMetric.CPU, target=80, window_s=300.0)


def alone(load=None, replicas=1, **changes):
    return Situation("wine-1", frozenset(), {"wine-1": Arm(replicas, 100, load)}, **changes)


def rollout(stable, canary, **changes):
    return Situation("wine-1", frozenset({"wine-2"}), {"wine-1": stable, "wine-2": canary}, **changes)


def status(replicas, since=None, peak=0, **changes):
    scale = RevisionScale(
        revision="wine-1", replicas=replicas, wanted_less_since=since, peak_wanted=peak, load=0.0
    )
    return ScalingStatus(revisions=(scale,), **changes)


def plan(policy, situation, before=None, *, after_s=0.0):
    return plan_scaling(policy, before, situation, NOON + timedelta(seconds=after_s))


@pytest.mark.parametrize(
    ("server", "want"),
    [
        ({"minReplicas": 3}, ScalePolicy(3, 3)),
        (
            {"maxReplicas": 8, "scaleMetric": "Rps", "scaleTarget": 50, "scaleDownWindow": "10s"},
            ScalePolicy(1, 8, ScaleMetric.RPS, 50, 10.0),
        ),
    ],
)
def test_policy_is_what_the_spec_says(server, want):
    assert ScalePolicy.of(Server.model_validate(server)) == want


@pytest.mark.parametrize(
    ("metric", "want"),
    [
        (None, ScaledBy.MANIFEST),
        (ScaleMetric.CPU, ScaledBy.AUTOSCALER),
        (ScaleMetric.MEMORY, ScaledBy.AUTOSCALER),
        (ScaleMetric.CONCURRENCY, ScaledBy.OPERATOR),
        (ScaleMetric.RPS, ScaledBy.OPERATOR),
    ],
)
def test_number_of_pods_has_one_owner(metric, want):
    assert ScalePolicy(1, 2, metric).scaled_by is want


def test_where_nothing_scales_each_revision_has_the_minimum_and_nothing_is_remembered():
    got = plan(ScalePolicy(3, 3), rollout(Arm(3, 95), Arm(None, 5)))
    assert (got.status, got.capacity, got.replicas) == (None, 3, {})
    assert got.minimums == {"wine-1": 3, "wine-2": 3}
    assert got.needed == {"wine-2": 3}


def test_load_brings_pods_at_once():
    got = plan(BUSY, alone(Load(30.0)))
    assert got.replicas == {"wine-1": 4}
    assert got.requeue_after_s is None


def test_falling_load_takes_pods_only_after_the_window_and_leaves_what_its_peak_wanted():
    first = plan(BUSY, alone(Load(8.0), 6), status(6))
    assert first.replicas == {"wine-1": 6}
    assert first.requeue_after_s == 300.0
    second = plan(BUSY, alone(Load(20.0), 6), first.status, after_s=200)
    assert second.replicas == {"wine-1": 6}
    last = plan(BUSY, alone(Load(8.0), 6), second.status, after_s=300)
    assert last.replicas == {"wine-1": 3}


def test_operator_that_restarts_within_the_window_does_not_begin_it_anew():
    before = status(6, NOON - timedelta(seconds=299), 2)
    assert plan(BUSY, alone(Load(8.0), 6), before, after_s=1).replicas == {"wine-1": 2}


@pytest.mark.parametrize("load", [None, Load(0.0, is_complete=False)], ids=["unknown", "a lower bound"])
def test_load_that_is_not_known_in_full_takes_no_pod(load):
    before = status(6, NOON - timedelta(seconds=400), 1)
    assert plan(BUSY, alone(load, 6), before).replicas == {"wine-1": 6}


def test_window_runs_on_while_an_operator_that_has_just_started_knows_no_load():
    before = status(6, NOON - timedelta(seconds=200), 2)
    unknown = plan(BUSY, alone(None, 6), before)
    assert unknown.status == before
    assert plan(BUSY, alone(Load(8.0), 6), unknown.status, after_s=100).replicas == {"wine-1": 2}


def test_lower_bound_may_bring_pods():
    assert plan(BUSY, alone(Load(60.0, is_complete=False), 6), status(6)).replicas == {"wine-1": 8}


def test_pods_that_somebody_took_come_back_and_those_that_somebody_added_go_after_the_window():
    assert plan(BUSY, alone(Load(30.0), 1), status(4)).replicas == {"wine-1": 4}
    added = plan(BUSY, alone(Load(30.0), 9), status(4))
    assert added.replicas == {"wine-1": 9}
    assert plan(BUSY, alone(Load(30.0), 9), added.status, after_s=300).replicas == {"wine-1": 4}


def test_lowered_maximum_holds_at_once():
    assert plan(ScalePolicy(1, 3, ScaleMetric.RPS, 8), alone(Load(90.0), 9), status(9)).replicas == {
        "wine-1": 3
    }


def test_change_from_the_clusters_autoscaler_to_ours_keeps_the_pods_that_are_there():
    assert plan(BUSY, alone(None, 7), status(1)).replicas == {"wine-1": 7}


def test_stable_keeps_its_size_while_a_canary_takes_its_traffic():
    before = plan(BUSY, rollout(Arm(5, 50, Load(20.0)), Arm(3, 50, Load(20.0))))
    assert before.status is not None
    assert (before.status.floor_revision, before.status.floor) == ("wine-1", 5)
    got = plan(BUSY, rollout(Arm(5, 10, Load(4.0)), Arm(5, 90, Load(36.0))), before.status, after_s=4000)
    assert got.replicas["wine-1"] == 5


def test_stable_can_carry_everything_when_load_grows_on_the_canary():
    before = status(3, floor_revision="wine-1", floor=3)
    got = plan(BUSY, rollout(Arm(3, 10, Load(6.0)), Arm(3, 90, Load(54.0))), before)
    assert got.replicas["wine-1"] == 8


def test_canary_gets_the_pods_of_the_share_that_comes():
    got = plan(BUSY, rollout(Arm(8, 95, Load(60.0)), Arm(1, 50, Load(3.0))), status(8))
    assert (got.capacity, got.replicas) == (8, {"wine-1": 8, "wine-2": 4})
    assert got.needed == {"wine-2": 4}


def test_canary_that_needs_more_than_its_share_gets_more():
    got = plan(BUSY, rollout(Arm(8, 50, Load(30.0)), Arm(4, 50, Load(50.0))), status(8))
    assert got.replicas["wine-2"] == 7


def test_after_the_rollout_the_floor_goes_only_after_the_window():
    before = status(8, floor_revision="wine-1", floor=8)
    back = plan(BUSY, alone(Load(10.0), 8), before)
    assert back.status is not None
    assert (back.status.floor_revision, back.status.floor) == (None, 0)
    assert back.replicas == {"wine-1": 8}
    assert plan(BUSY, alone(Load(10.0), 8), back.status, after_s=300).replicas == {"wine-1": 2}


def test_revision_on_its_way_out_stays_as_it_is():
    leaving = Situation(
        "wine-1", frozenset(), {"wine-1": Arm(4, 100, Load(30.0)), "wine-2": Arm(3, 0, Load(0.0))}
    )
    before = plan(BUSY, leaving, status(4))
    assert plan(BUSY, leaving, before.status, after_s=4000).replicas["wine-2"] == 3


def test_more_revisions_than_the_status_holds_leave_out_those_that_go():
    leaving = {f"old-{number:02}": Arm(3, 0, Load(0.0)) for number in range(25)}
    arms = {**leaving, "wine-1": Arm(4, 90, Load(30.0)), "wine-2": Arm(1, 10, Load(3.0))}
    got = plan(BUSY, Situation("wine-1", frozenset({"wine-2"}), arms))
    assert got.status is not None
    known = {scale.revision for scale in got.status.revisions}
    assert len(known) == 20
    assert {"wine-1", "wine-2"} <= known
    assert {got.replicas[name] for name in leaving} == {3}


def test_experiment_of_weeks_keeps_no_floor():
    got = plan(BUSY, rollout(Arm(8, 50, Load(14.0)), Arm(2, 50, Load(14.0)), keeps_floor=False), status(8))
    assert got.status is not None
    assert got.status.floor_revision is None
    later = plan(
        BUSY,
        rollout(Arm(8, 50, Load(14.0)), Arm(2, 50, Load(14.0)), keeps_floor=False),
        got.status,
        after_s=300,
    )
    assert later.replicas == {"wine-1": 2, "wine-2": 2}


def test_clusters_autoscaler_is_given_the_floor_and_the_share_as_its_minimum():
    got = plan(CPU, rollout(Arm(6, 95), Arm(2, 50)))
    assert got.replicas == {}
    assert got.minimums == {"wine-1": 6, "wine-2": 3}


def test_clusters_autoscaler_keeps_the_floor_for_a_window_after_an_abort():
    # Its own window remembers a time in which the stable revision had little to do.
    before = plan(CPU, rollout(Arm(6, 50), Arm(3, 50)))
    aborted = Situation("wine-1", frozenset(), {"wine-1": Arm(6, 100), "wine-2": Arm(3, 0)})
    back = plan(CPU, aborted, before.status, after_s=1)
    assert back.minimums["wine-1"] == 6
    assert plan(CPU, aborted, back.status, after_s=301).minimums["wine-1"] == 2


def test_same_load_writes_the_same_status():
    first = plan(BUSY, alone(Load(30.0), 4), status(4))
    assert plan(BUSY, alone(Load(31.0), 4), first.status, after_s=60).status == first.status


@pytest.mark.parametrize(
    ("weight", "capacity", "want"),
    [(0, 10, 1), (7, 100, 7), (25, 10, 3), (100, 8, 8), (50, 1000, 20)],
    ids=["no share", "no rounding up of whole numbers", "rounded up", "everything", "bounded"],
)
def test_share_needs_its_part_of_the_capacity(weight, capacity, want):
    assert needed_replicas(weight, capacity, ScalePolicy(1, 20)) == want
