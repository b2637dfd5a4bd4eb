"""A/B tests: fixed shares, clients that keep their side, and the rule that ends them."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from perennial.rollout.experiment import promoted_revision
from perennial.rollout.experiment.rewards import Earned
from perennial.rollout.experiment.winner import ALTERNATIVES, add_window, e_value_of, find_winner
from perennial_api.arms import Arm
from perennial_api.modeldeployment.experiment import Winner
from perennial_api.modeldeployment.experiment_status import (
    ArmStatus,
    ExperimentPhase,
    RewardCounts,
    VariantState,
)
from perennial_api.modelroute import StickyType

from tests.unit.operator.experiment.lab import STABLE, START, Lab, ab_test_of, by_header


def test_header_splits_by_a_salt_of_the_attempt() -> None:
    lab = Lab(ab_test_of(30, route=by_header()))
    lab.turn()
    assert lab.plan.sticky is not None
    assert (lab.plan.sticky.type, lab.plan.sticky.name) == (StickyType.HEADER, "x-user-id")
    assert lab.plan.sticky.salt == lab.told.salt


def test_cookie_lives_as_long_as_the_test() -> None:
    lab = Lab(ab_test_of(30, route={"routeType": "Cookie", "routeBy": "side"}, duration="9d"))
    lab.turn()
    assert lab.plan.sticky is not None
    assert (lab.plan.sticky.type, lab.plan.sticky.ttl) == (StickyType.COOKIE, "9d")


def test_random_binds_nobody() -> None:
    lab = Lab(ab_test_of(30))
    lab.turn()
    assert lab.plan.sticky is None


def test_order_and_salt_never_change_while_it_runs() -> None:
    lab = Lab(ab_test_of(30, 20, route=by_header()), requests_per_turn=100)
    lab.turn()
    want = (list(lab.weights), lab.plan.sticky)
    for action in ("lose", "wait", "heal", "wait"):
        if action in {"lose", "heal"}:
            getattr(lab, action)("v1")
        lab.run(3)
        assert (list(lab.weights), lab.plan.sticky) == want


def test_clients_keep_their_places_when_a_variant_is_lost_or_unsafe() -> None:
    lab = Lab(ab_test_of(30, 20, 10, route=by_header()), requests_per_turn=500)
    lab.turn()
    assert lab.plan.sticky is not None
    want = lab.plan.sticky.places
    assert [(p.revision, p.percent) for p in want] == [
        ("wine-v1", 30),
        ("wine-v2", 20),
        ("wine-v3", 10),
        (STABLE, 40),
    ]
    lab.lose("v3")
    lab.error_share = {"wine-v1": 0.5}
    lab.run(20)
    assert lab.weights == {"wine-v2": 20, "wine-v3": 0, STABLE: 80}
    assert lab.plan.sticky.places == want


def test_variant_without_a_revision_keeps_its_place_too() -> None:
    lab = Lab(ab_test_of(30, 20, route=by_header()), problem=("RuntimeNotFound", "There is no runtime fast."))
    del lab.views["wine-v1"]
    lab.turn()
    assert lab.plan.sticky is not None
    assert [place.percent for place in lab.plan.sticky.places] == [30, 20, 50]


def test_unsafe_variant_gets_no_more_requests_for_good_and_its_share_goes_to_stable() -> None:
    lab = Lab(ab_test_of(30, 20), requests_per_turn=200, error_share={"wine-v1": 0.4})
    decisions = lab.run(10)
    assert lab.weights == {STABLE: 80, "wine-v2": 20}
    assert "wine-v1" not in lab.plan.keep
    assert lab.plan.roles["wine-v1"] == "Failed"
    (outcome,) = [outcome for decision in decisions for outcome in decision.outcomes]
    assert outcome.revision == "wine-v1"
    assert outcome.evidence[0].canary.bad > 0
    lab.error_share = {}
    lab.run(20)
    assert lab.arm("v1").state == "Unsafe"


def test_experiment_without_a_safe_variant_ends() -> None:
    lab = Lab(ab_test_of(30), requests_per_turn=200, error_share={"wine-v1": 0.4})
    lab.run(10)
    assert (lab.told.phase, lab.told.reason) == (ExperimentPhase.ENDED, "NoSafeVariant")


def test_sticky_test_counts_clients_in_rule_and_gate() -> None:
    lab = Lab(ab_test_of(50, route=by_header(), confidence=0.9), requests_per_turn=10)
    lab.run(3)
    # Ten clients that send a thousand requests each are still ten.
    for name, counters in lab.counters.items():
        lab.counters[name] = replace(counters, requests=counters.requests * 1000)
    lab.run(3)
    assert lab.arm("v1").counts.total < 100
    gate = lab.arm("v1").gate
    assert gate is not None
    assert gate.by_client


def test_better_variant_wins_with_the_figures() -> None:
    lab = Lab(ab_test_of(50, confidence=0.99), requests_per_turn=1000, error_share={STABLE: 0.08})
    lab.run(10)
    assert (lab.told.reason, lab.told.winner, lab.told.promote) == ("Winner", "v1", False)
    assert "100.00% of" in lab.told.message


def test_winner_needs_min_samples_of_each_router_that_counts_clients() -> None:
    rule = Winner(min_samples=100)
    arms = tuple(
        ArmStatus(
            name=name, state=VariantState.RUNNING, counts=RewardCounts(total=150, bad=0), e_value=1000.0
        )
        for name in (STABLE_ARM, "v1")
    )
    assert find_winner(rule, arms, routers=2) is None
    assert find_winner(rule, arms) is arms[1]


def test_winner_needs_min_samples() -> None:
    spec = ab_test_of(50, confidence=0.99, minSamples=1_000_000)
    lab = Lab(spec, requests_per_turn=1000, error_share={STABLE: 0.08})
    lab.run(10)
    assert lab.told.phase is ExperimentPhase.RUNNING


def test_stable_that_is_better_is_no_winner_at_max_duration() -> None:
    spec = ab_test_of(50, confidence=0.99, duration="1h")
    lab = Lab(spec, requests_per_turn=1000, error_share={STABLE: 0.02, "wine-v1": 0.02})
    lab.run(10)
    lab.now += timedelta(hours=1)
    lab.turn()
    assert (lab.told.reason, lab.told.winner) == ("NoWinner", None)
    assert "stable 98.00% of" in lab.told.message


def test_test_without_a_rule_reports_errors_and_runs_to_the_end() -> None:
    lab = Lab(ab_test_of(50, duration="1h"), requests_per_turn=1000, error_share={STABLE: 0.08})
    lab.run(50)
    assert lab.told.phase is ExperimentPhase.RUNNING
    assert lab.arm(STABLE_ARM).counts.bad > 0


STABLE_ARM = "stable"


def test_more_variants_need_more_evidence() -> None:
    needed = []
    for weights in ((20,), (20, 20, 20)):
        spec = ab_test_of(*weights, confidence=0.99, minSamples=1)
        lab = Lab(spec, requests_per_turn=500, error_share={STABLE: 0.05})
        while lab.turn().plan is not None:
            continue
        needed.append(lab.told.message.rsplit("evidence", 1)[1].split(", ")[1])
    assert needed == ["100 wins.", "300 wins."]


def test_router_counters_from_before_the_test_are_not_counted() -> None:
    lab = Lab(ab_test_of(50, confidence=0.9), requests_per_turn=1000, error_share={STABLE: 1.0})
    for _ in range(5):
        lab.serve()
    lab.error_share = {}
    lab.run(5)
    assert lab.arm(STABLE_ARM).counts.bad == 0


def arm_of(revision: str, since_s: float = 0.0, **counts: Any) -> Arm:
    since = START + timedelta(seconds=since_s)
    return Arm(revision=revision, since=since, counted_until=since, **counts)


def test_labels_are_counted_once_whatever_the_observer_restarts() -> None:
    lab = Lab(ab_test_of(50, reward="Feedback", confidence=0.9))
    lab.turn()
    labels = {"total": 50, "bad": 10}
    for since_s, want in ((1.0, 50), (1.0, 50), (60.0, 100)):
        lab.reported = {
            name: arm_of(name, since_s, labels=labels, client_labels={"total": 9}) for name in lab.views
        }
        lab.run(2)
        assert lab.arm("v1").counts.total == want


def test_labels_from_before_the_test_are_not_counted() -> None:
    lab = Lab(ab_test_of(50, reward="Feedback", confidence=0.9))
    lab.reported = {STABLE: arm_of(STABLE, -60.0, labels={"total": 500, "bad": 400})}
    lab.run(3)
    assert lab.arm(STABLE_ARM).counts.total == 0


def test_sticky_test_by_feedback_counts_each_client_once() -> None:
    lab = Lab(ab_test_of(50, route=by_header(), reward="Feedback", confidence=0.9))
    lab.turn()
    lab.reported = {
        name: arm_of(name, 1.0, labels={"total": 500}, client_labels={"total": 9}) for name in lab.views
    }
    lab.run(2)
    assert lab.arm("v1").counts.total == 9


def test_winner_is_promoted_only_where_that_is_asked_for() -> None:
    promoted = []
    for promote in (True, False):
        spec = ab_test_of(50, confidence=0.99, promote=promote)
        lab = Lab(spec, requests_per_turn=1000, error_share={STABLE: 0.08})
        lab.run(10)
        assert lab.told.winner == "v1"
        promoted.append(promoted_revision(lab.told))
    assert promoted == ["wine-v1", None]


def test_equal_variants_win_no_more_often_than_the_confidence_allows() -> None:
    """500 tests of an hour, looked at every 15 s: at confidence 0.9 at most 10 % may name a winner."""
    draw = random.Random(7)
    wins = 0
    for _ in range(500):
        log_e_values: tuple[float, ...] = ()
        for _ in range(240):
            bad = [sum(draw.random() < 0.2 for _ in range(10)) for _ in range(2)]
            log_e_values = add_window(log_e_values, Earned(10, bad[0]), Earned(10, bad[1]))
            if e_value_of(log_e_values) >= 10:
                wins += 1
                break
    assert wins <= 50


def test_variant_that_is_wrong_15_instead_of_20_percent_of_the_time_is_found() -> None:
    draw = random.Random(8)
    log_e_values: tuple[float, ...] = ()
    for _ in range(100):
        bad = [sum(draw.random() < rate for _ in range(100)) for rate in (0.15, 0.20)]
        log_e_values = add_window(log_e_values, Earned(100, bad[0]), Earned(100, bad[1]))
    assert e_value_of(log_e_values) > 100


def test_window_with_one_arm_only_says_nothing() -> None:
    assert add_window((), Earned(100, 0), Earned(0, 0)) == (0.0,) * len(ALTERNATIVES)
