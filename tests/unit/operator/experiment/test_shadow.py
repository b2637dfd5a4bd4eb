"""Shadows: copies whose answers are compared and thrown away."""

from datetime import timedelta
from typing import Any

from perennial_api.arms import Arm
from perennial_api.modelroute import Mirror

from tests.unit.operator.experiment.lab import STABLE, START, Lab, shadow_of


def report(lab: Lab, since_s: float, **pairs: Any) -> None:
    since = START + timedelta(seconds=since_s)
    lab.reported = {"wine-v1": Arm(revision="wine-v1", since=since, counted_until=since, shadow=pairs)}


def test_shadow_gets_copies_and_no_answer_of_its_reaches_anybody() -> None:
    lab = Lab(shadow_of(percent=40))
    lab.turn()
    assert lab.plan.mirror == Mirror(revision="wine-v1", percent=40)
    assert lab.weights == {"wine-v1": 0, STABLE: 100}


def test_shadow_gets_no_copy_before_its_pods_are_ready() -> None:
    lab = Lab(shadow_of())
    lab.lose("v1")
    lab.turn()
    assert lab.plan.mirror is None


def test_shadow_that_loses_its_pods_gets_no_more_copies() -> None:
    lab = Lab(shadow_of())
    lab.turn()
    lab.lose("v1")
    lab.turn()
    assert lab.plan.mirror is None


def test_answers_are_compared_in_rate_and_size() -> None:
    lab = Lab(shadow_of())
    lab.turn()
    report(
        lab,
        1.0,
        requests=12,
        agreement={"total": 10, "bad": 1},
        differences=10,
        difference_sum=2.5,
        difference_max=2.0,
    )
    lab.run(2)
    shadow = lab.arm("v1").shadow
    assert shadow is not None
    assert (shadow.pairs, shadow.agreements, shadow.agreement_rate, shadow.mean_difference) == (
        10,
        9,
        0.9,
        0.25,
    )
    assert shadow.largest_difference == 2.0


def test_pairs_are_counted_once_whatever_the_observer_restarts() -> None:
    lab = Lab(shadow_of())
    lab.turn()
    for since_s, want in ((1.0, 10), (1.0, 10), (50.0, 20)):
        report(lab, since_s, requests=10, agreement={"total": 10, "bad": 5})
        lab.run(2)
        shadow = lab.arm("v1").shadow
        assert shadow is not None
        assert (shadow.pairs, shadow.agreements) == (want, want // 2)


def test_it_ends_with_the_report() -> None:
    lab = Lab(shadow_of(maxDuration="1h"))
    lab.turn()
    report(lab, 1.0, requests=10, agreement={"total": 10, "bad": 1})
    lab.turn()
    lab.now += timedelta(hours=1)
    assert lab.turn().plan is None
    assert lab.told.reason == "MaxDuration"
    assert "agreed with the stable revision in 90.00% of 10 answers" in lab.told.message
    assert lab.arm("v1").shadow is not None


def test_failing_shadow_is_not_judged_by_the_gate_of_live_requests() -> None:
    lab = Lab(shadow_of(), requests_per_turn=500, error_share={"wine-v1": 1.0})
    lab.run(20)
    assert lab.arm("v1").gate is None
