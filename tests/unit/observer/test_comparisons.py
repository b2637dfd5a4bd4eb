"""The pure parts of comparisons: lifecycle, pairs, labels, tallies."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perennial_api import ModelDeployment
from perennial_api.monitorreport import MonitorReportStatus
from perennial_observer.comparisons.agreement import PairResult, compare_answers
from perennial_observer.comparisons.judging import LabelRule, read_rule
from perennial_observer.comparisons.lifecycle import (
    MAX_ARMS,
    Change,
    Situation,
    choose_arms,
    decide,
    read_attempt,
    stays_on,
)
from perennial_observer.comparisons.tally import Tally

A, B = "wine-a", "wine-b"
BOTH = frozenset({A, B})
NOBODY = frozenset()


def now(*, attempt=1, on=False, answering=NOBODY, recent=NOBODY):
    return Situation(attempt, stays_on=on, answering=answering, recent=recent)


@pytest.mark.parametrize(
    ("running", "situation", "want"),
    [
        (None, now(answering={A}, recent={A}), Change.NONE),
        (None, now(on=True, answering={A}, recent={A}), Change.NONE),
        (None, now(answering={B}, recent=BOTH), Change.BEGIN),
        ((1, BOTH), now(answering=BOTH, recent=BOTH), Change.NONE),
        ((1, BOTH), now(answering={"wine-c"}, recent=BOTH | {"wine-c"}), Change.BEGIN),
        ((1, BOTH), now(attempt=2, answering={A}, recent=BOTH), Change.BEGIN),
        ((1, BOTH), now(attempt=2, answering={A}, recent={A}), Change.END),
        ((1, BOTH), now(answering={A}, recent={A}), Change.END),
        ((1, BOTH), now(recent=NOBODY), Change.END),
        ((1, BOTH), now(on=True, recent=NOBODY), Change.NONE),
    ],
)
def test_a_comparison_lasts_while_several_answer_or_a_rollout_waits(running, situation, want):
    assert decide(running, situation) is want


def test_more_arms_than_can_be_reported_do_not_begin_anew_for_ever():
    arms = frozenset(map(str, range(MAX_ARMS)))
    situation = now(answering={"one-more"}, recent=arms | {"one-more"})
    assert decide((1, arms), situation) is Change.NONE


def test_the_arms_are_those_that_answered_last():
    recent = {f"wine-{i:02}": float(i) for i in range(30)}
    got = choose_arms(recent)
    assert got == [f"wine-{i:02}" for i in range(10, 30)]


def deployment(spec=None, **rollout):
    return ModelDeployment.model_validate(
        {
            "apiVersion": "perennial.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "wine", "namespace": "shop", "uid": "u"},
            "spec": {"model": {"uri": "perennial://sha256:" + "0" * 64}, **(spec or {})},
            "status": {"rollout": {"phase": "Progressing", **rollout}} if rollout else {},
        }
    )


def test_a_rollout_keeps_its_comparison_on_and_names_its_attempt():
    rolling = deployment(stable=A, canary=B, attempt=7)
    assert (stays_on(rolling), read_attempt(rolling)) == (True, 7)
    assert not stays_on(deployment(stable=A))
    assert (stays_on(deployment()), read_attempt(deployment())) == (False, 0)


def rule_of(metric, bound, task=None, **spec):
    monitor = {
        "name": "m",
        "type": "Performance",
        "performance": {"metric": metric, **bound, "labels": {"maturity": "90s"}},
    }
    return read_rule(deployment({"monitoring": {"monitors": [monitor]}, **spec}), task)


@pytest.mark.parametrize(("maturity", "alone_s", "both_s"), [("60s", 60.0, 90.0), ("2m", 120.0, 120.0)])
def test_labels_are_ripe_when_both_the_monitor_and_the_rollouts_metric_say_so(maturity, alone_s, both_s):
    feedback = {"name": "labels", "type": "Feedback", "feedback": {"maturity": maturity}}
    rollout = {"analysis": {"metrics": [feedback]}}
    assert rule_of("accuracy", {"min": 0.9}, rollout=rollout).maturity_s == both_s
    assert read_rule(deployment({"rollout": rollout}), None).maturity_s == alone_s


def test_the_performance_monitor_says_when_labels_are_ripe_and_what_is_wrong():
    assert rule_of("accuracy", {"min": 0.9}) == LabelRule(90.0, is_regression=False)
    assert rule_of("mae", {"max": 2.0}) == LabelRule(90.0, is_regression=True, max_error=2.0)


@pytest.mark.parametrize(("task", "want"), [("Regression", True), ("Classification", False), (None, False)])
def test_without_a_performance_monitor_the_task_decides_and_labels_count_when_they_come(task, want):
    assert read_rule(deployment(), task) == LabelRule(None, is_regression=want)


@pytest.mark.parametrize(
    ("rule", "label", "answer", "want"),
    [
        (LabelRule(None, is_regression=False), 1, 1.0, False),
        (LabelRule(None, is_regression=False), True, 1, False),
        (LabelRule(None, is_regression=False), "red", "white", True),
        (LabelRule(None, is_regression=False), None, 1, None),
        (LabelRule(None, is_regression=False), 1, None, None),
        (LabelRule(None, is_regression=True, max_error=1.0), 3.0, 2.5, False),
        (LabelRule(None, is_regression=True, max_error=1.0), 3.0, 1.5, True),
        (LabelRule(None, is_regression=True, max_error=1.0), "much", 1.5, None),
        (LabelRule(None, is_regression=True), 3.0, 1.5, None),
    ],
)
def test_a_label_proves_a_prediction_wrong(rule, label, answer, want):
    assert rule.is_wrong(label, {"predict": answer}) is want


def test_answers_agree_only_if_every_row_does():
    live = {0: {"predict": 1}, 1: {"predict": 0}}
    assert compare_answers(live, live, is_regression=False).agrees
    shadow = {0: {"predict": 1}, 1: {"predict": 1}}
    assert not compare_answers(shadow, live, is_regression=False).agrees


def test_a_classifiers_difference_is_that_of_its_probabilities():
    shadow = {0: {"predict": 1, "probability": [0.2, 0.8]}, 1: {"predict": 1, "probability": [0.4, 0.6]}}
    live = {0: {"predict": 1, "probability": [0.3, 0.7]}, 1: {"predict": 1, "probability": [0.4, 0.6]}}
    got = compare_answers(shadow, live, is_regression=False)
    assert (got.agrees, got.difference) == (True, pytest.approx(0.05))


def test_a_regressions_answers_agree_within_a_millionth():
    def compare(shadow, live):
        return compare_answers({0: {"predict": shadow}}, {0: {"predict": live}}, is_regression=True)

    assert compare(100.00001, 100.0).agrees
    got = compare(103.0, 100.0)
    assert (got.agrees, got.difference) == (False, 3.0)


def test_what_cannot_be_compared_is_no_pair_or_no_difference():
    assert compare_answers({1: {"predict": 1}}, {0: {"predict": 1}}, is_regression=False) is None
    odd = {0: {"predict": "a", "probability": [0.1, "x"]}}
    assert compare_answers(odd, odd, is_regression=False) == PairResult(agrees=True, difference=None)
    huge = compare_answers({0: {"predict": 1e308}}, {0: {"predict": -1e308}}, is_regression=True)
    assert huge == PairResult(agrees=False, difference=None)


def test_a_tally_survives_being_stored_and_a_later_releases_count():
    tally = Tally(predictions=3, difference_sum=0.5)
    text = tally.dump()
    assert Tally.load(text) == tally
    assert Tally.load(text[:-1] + ',"moods":7}') == tally


def test_an_arm_without_mirrored_answers_says_nothing_of_them():
    assert Tally().to_arm(A, since=0.0, until=1.0).shadow is None
    assert Tally(shadow_requests=1).to_arm(A, since=0.0, until=1.0).shadow.requests == 1


@given(st.lists(st.floats(min_value=0, max_value=1.7e308), max_size=20))
def test_sums_of_differences_stay_numbers(differences):
    tally = Tally()
    for difference in differences:
        tally.add_pair(PairResult(agrees=False, difference=difference))
    assert tally.pairs == len(differences)
    assert math.isfinite(tally.difference_squared_sum)
    assert math.isfinite(tally.difference_sum)


def test_a_client_counts_once_by_its_first_request():
    tally = Tally()
    tally.add_request(is_odd=False, is_new_client=True)
    tally.add_request(is_odd=True, is_new_client=False)
    tally.add_request(is_odd=None, is_new_client=True)
    assert (tally.predictions, tally.clients) == (3, 2)
    assert (tally.outliers_total, tally.outliers_bad) == (2, 1)
    assert (tally.client_outliers_total, tally.client_outliers_bad) == (1, 0)


def test_arms_are_read_back_as_they_were_written_and_a_newer_writers_fields_are_dropped():
    tally = Tally(predictions=3, outliers_total=2, rewards=1, reward_sum=1.0, shadow_requests=2, pairs=1)
    status = MonitorReportStatus(arms=(tally.to_arm(A, since=0.25, until=1.0),))
    written = status.to_api()
    assert MonitorReportStatus.model_validate(written) == status
    written["arms"][0]["moods"] = {"total": 7}
    written["arms"][0]["outliers"]["odder"] = 1
    assert MonitorReportStatus.model_validate(written) == status
