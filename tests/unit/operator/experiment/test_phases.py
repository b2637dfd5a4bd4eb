"""When an experiment waits, begins, starts anew and ends, one behaviour per test."""

from datetime import timedelta

import pytest
from perennial.rollout.decision import EventReason
from perennial.rollout.experiment import assess_promotion
from perennial.rollout.observed import Failure
from perennial_api.modeldeployment.command_status import Command, Verb
from perennial_api.modeldeployment.experiment import Experiment
from perennial_api.modeldeployment.experiment_status import ExperimentPhase, ExperimentStatus, VariantState
from perennial_api.modelrevision import RevisionRole

from tests.unit.operator.experiment.lab import STABLE, Lab, ab_test_of, bandit_of, by_header, shadow_of

CRASH = Failure("DigestMismatch", "The bundle has another digest.", 1)


def test_variants_share_the_requests_as_soon_as_their_pods_are_ready() -> None:
    lab = Lab(ab_test_of(30, 20))
    lab.turn()
    assert lab.told.phase is ExperimentPhase.RUNNING
    assert lab.weights == {"wine-v1": 30, "wine-v2": 20, STABLE: 50}
    assert lab.plan.roles == {"wine-v1": RevisionRole.VARIANT, "wine-v2": RevisionRole.VARIANT}


def test_variant_gets_no_share_before_its_pods_are_ready() -> None:
    lab = Lab(ab_test_of(30))
    lab.lose("v1")
    lab.run(3)
    assert lab.told.phase is ExperimentPhase.WAITING
    assert lab.weights == {STABLE: 100}
    assert lab.plan.keep == {"wine-v1"}
    lab.heal("v1")
    lab.turn()
    assert lab.weights == {"wine-v1": 30, STABLE: 70}


def test_all_variants_begin_together() -> None:
    lab = Lab(ab_test_of(30, 20))
    lab.lose("v2")
    lab.run(3)
    assert lab.told.phase is ExperimentPhase.WAITING
    assert lab.weights == {"wine-v1": 0, STABLE: 100}


def test_failing_variant_is_named_with_the_servers_own_words_and_the_others_run() -> None:
    lab = Lab(ab_test_of(30, 20))
    lab.lose("v2", CRASH)
    decisions = lab.run(3)
    assert lab.weights == {"wine-v1": 30, STABLE: 70}
    assert lab.told.reason == "VariantNotReady"
    assert lab.told.message == "v2: DigestMismatch: The bundle has another digest."
    reasons = [notice.reason for decision in decisions for notice in decision.notices]
    assert reasons == [EventReason.EXPERIMENT_STARTED, EventReason.VARIANT_NOT_READY]


def test_variant_that_alone_never_becomes_ready_leaves_stable_all_requests() -> None:
    lab = Lab(bandit_of())
    lab.lose("v1", CRASH)
    lab.run(10, seconds=3600)
    assert lab.told.phase is ExperimentPhase.WAITING
    assert lab.told.reason == "VariantNotReady"
    assert lab.weights == {STABLE: 100}


def test_long_messages_of_many_variants_still_fit_into_the_status() -> None:
    lab = Lab(ab_test_of(*[10] * 8))
    for number in range(1, 9):
        lab.lose(f"v{number}", Failure("ModelServerCrashed", "a" * 1024, 1))
    lab.turn()
    message = lab.told.message
    assert message.startswith("v1: ModelServerCrashed")
    assert ExperimentStatus.model_validate(lab.told.to_api()).message == message


def test_variant_that_is_merely_slow_is_waited_for_no_longer_than_the_deadline() -> None:
    lab = Lab(ab_test_of(30, 20))
    lab.lose("v2", Failure("Unschedulable", "0/1 nodes are available."))
    lab.run(2, seconds=299)
    assert lab.told.phase is ExperimentPhase.WAITING
    lab.run(2)
    assert lab.weights == {"wine-v1": 30, STABLE: 70}


def test_variant_whose_pods_die_in_the_middle_leaves_its_share_to_stable_until_they_are_back() -> None:
    lab = Lab(ab_test_of(30, 20))
    lab.turn()
    lab.lose("v1")
    lab.turn()
    assert lab.weights == {"wine-v1": 0, STABLE: 80, "wine-v2": 20}
    lab.heal("v1")
    lab.turn()
    assert lab.weights == {"wine-v1": 30, STABLE: 50, "wine-v2": 20}


def test_revision_that_cannot_be_made_is_named_with_what_to_do() -> None:
    lab = Lab(ab_test_of(30), problem=("RuntimeNotFound", "There is no runtime fast: make one."))
    del lab.views["wine-v1"]
    lab.turn()
    assert lab.told.message == "v1: RuntimeNotFound: There is no runtime fast: make one."
    assert lab.weights == {STABLE: 100}


def test_experiment_waits_for_a_rollout_under_way_and_asks_for_no_pods_meanwhile() -> None:
    lab = Lab(ab_test_of(30), rollout_under_way=True)
    assert lab.turn().plan is None
    assert (lab.told.phase, lab.told.reason) == (ExperimentPhase.WAITING, "RolloutUnderWay")
    lab.rollout_under_way = False
    lab.turn()
    assert lab.told.phase is ExperimentPhase.RUNNING


def test_time_spent_behind_a_rollout_shortens_no_variants_deadline() -> None:
    lab = Lab(ab_test_of(30, 20), rollout_under_way=True)
    lab.run(3, seconds=3600)
    lab.rollout_under_way = False
    lab.lose("v2")
    lab.turn()
    assert lab.told.phase is ExperimentPhase.WAITING


def test_experiment_waits_for_the_first_stable_revision() -> None:
    lab = Lab(ab_test_of(30), stable=None)
    assert lab.turn().plan is None
    assert lab.told.reason == "NoStableRevision"


def test_edited_experiment_starts_anew_with_another_salt() -> None:
    lab = Lab(ab_test_of(30, route=by_header()))
    lab.turn()
    first = lab.told
    lab.spec = ab_test_of(40, route=by_header())
    decision = lab.turn()
    assert lab.told.attempt == 2
    assert lab.told.salt != first.salt
    assert lab.weights["wine-v1"] == 40
    assert decision.notices[0].reason is EventReason.EXPERIMENT_ENDED


def test_new_stable_revision_starts_the_comparison_anew() -> None:
    lab = Lab(ab_test_of(30))
    lab.turn()
    lab.views["wine-9"] = lab.views[STABLE]
    lab.stable = "wine-9"
    lab.turn()
    assert (lab.told.attempt, lab.told.stable) == (2, "wine-9")


def test_removed_experiment_ends_at_once() -> None:
    lab = Lab(ab_test_of(30))
    lab.turn()
    lab.spec = None
    decision = lab.turn()
    assert decision.plan is None
    assert (lab.told.phase, lab.told.reason) == (ExperimentPhase.ENDED, "Removed")


def test_nothing_was_ever_asked_for_leaves_no_status() -> None:
    lab = Lab(None)
    assert lab.turn().status is None


def test_report_of_an_ended_experiment_stays_until_the_spec_changes() -> None:
    lab = Lab(ab_test_of(30, duration="1m"))
    lab.run(3, seconds=60)
    report = lab.told
    assert report.phase is ExperimentPhase.ENDED
    lab.run(3, seconds=3600)
    assert lab.told == report
    lab.spec = None
    lab.turn()
    assert lab.told == report
    lab.spec = ab_test_of(30, duration="2m")
    lab.turn()
    assert (lab.told.phase, lab.told.attempt) == (ExperimentPhase.RUNNING, 2)


def test_stable_revision_that_changes_after_the_end_starts_nothing() -> None:
    lab = Lab(ab_test_of(30, duration="1m"))
    lab.run(3, seconds=60)
    lab.stable = "wine-9"
    lab.turn()
    assert (lab.told.phase, lab.told.attempt) == (ExperimentPhase.ENDED, 1)


def test_abort_ends_it_with_all_weight_on_stable() -> None:
    lab = Lab(ab_test_of(30))
    lab.turn()
    lab.command = Command(id="c1", verb=Verb.ABORT)
    assert lab.turn().plan is None
    assert lab.told.reason == "Aborted"
    assert lab.told.winner is None


def test_promoted_variant_wins_whatever_the_rule_says() -> None:
    lab = Lab(ab_test_of(30, confidence=0.99))
    lab.turn()
    lab.command = Command(id="c1", verb=Verb.PROMOTE, variant="v1")
    lab.turn()
    assert (lab.told.reason, lab.told.winner, lab.told.promote) == ("Promoted", "v1", True)


def test_promote_of_an_unknown_variant_changes_nothing() -> None:
    lab = Lab(ab_test_of(30))
    lab.turn()
    lab.command = Command(id="c1", verb=Verb.PROMOTE, variant="v7")
    lab.turn()
    assert lab.told.phase is ExperimentPhase.RUNNING


def test_unsafe_variant_is_not_promoted() -> None:
    lab = Lab(ab_test_of(30, 20), requests_per_turn=200, error_share={"wine-v1": 0.4})
    lab.run(10)
    verdict = assess_promotion("v1", lab.told)
    assert (verdict.passed, verdict.reason) == (False, "VariantUnsafe")


def test_promotion_after_the_end_is_refused() -> None:
    lab = Lab(ab_test_of(30, duration="1m"))
    lab.run(3, seconds=60)
    assert assess_promotion("v1", lab.told).reason == "NoExperiment"


def test_promotion_of_an_unknown_variant_is_refused_with_the_known_ones() -> None:
    lab = Lab(ab_test_of(30, 20))
    lab.turn()
    assert "v1, v2" in assess_promotion("v7", lab.told).message


def test_pass_that_is_done_again_after_a_crash_decides_the_same() -> None:
    for spec in (ab_test_of(30, confidence=0.9), bandit_of(2), shadow_of()):
        lab = Lab(spec, requests_per_turn=1000)
        for _ in range(30):
            assert lab.decide() == lab.decide()
            lab.turn()


@pytest.mark.parametrize("spec", [ab_test_of(30), bandit_of(), shadow_of()])
def test_every_type_ends_at_max_duration(spec: Experiment) -> None:
    lab = Lab(spec)
    lab.turn()
    lab.now += timedelta(days=14)
    decision = lab.turn()
    assert decision.plan is None
    assert lab.told.reason == "MaxDuration"
    assert {outcome.revision for outcome in decision.outcomes} == {"wine-v1"}
    assert lab.arm("v1").state is VariantState.ENDED
