"""What `status` draws."""

from __future__ import annotations

from datetime import timedelta

from perennial.cli.views.status import render_status
from perennial.cli.views.view import PodLine, View

from tests.unit.operator.cli.objects import NOW, ROLLOUT, ago, deployment, revision, run
from tests.unit.operator.cli.objects import drawn as drawn_as_is


def drawn(view: View) -> str:
    return drawn_as_is(render_status(view, NOW))


def test_deployment_without_status_is_pending() -> None:
    assert "shop/wine  Pending" in drawn(View(deployment()))


def test_rollout_shows_its_road_and_where_it_stands() -> None:
    got = drawn(View(deployment({"rollout": ROLLOUT})))
    assert "shop/wine  Progressing" in got
    assert "step 2 of 3  Paused 1m ago" in got
    assert "5 % → pause 2m → 50 % → 100 %" in got


def test_gate_shows_what_both_arms_have_shown() -> None:
    (got,) = [
        line for line in drawn(View(deployment({"rollout": ROLLOUT}))).splitlines() if "10 of 100" in line
    ]
    for want in ("errors", "10 of 100 (10.00%)", "19 of 1900 (1.00%)", "Inconclusive"):
        assert want in got


def test_gate_shows_its_evidence_and_keeps_brackets() -> None:
    got = drawn(View(deployment({"rollout": ROLLOUT})))
    assert "Failed (RatioExceeded)  evidence 5.04e+04, fails at 100" in got
    assert "too many [10 %]" in got


def test_revisions_show_role_weight_and_why_they_failed() -> None:
    revisions = (
        revision("wine-a", "Stable"),
        revision("wine-b", "Canary"),
        revision("wine-c", "Failed", message="rolled back"),
    )
    got = drawn(View(deployment({"rollout": ROLLOUT}), revisions)).splitlines()
    assert any(
        "wine-a" in line and "Stable" in line and "95 %" in line and "9f2c9f2c9f2c" in line for line in got
    )
    assert any("wine-b" in line and "Canary" in line and "5 %" in line for line in got)
    assert any("wine-c" in line and "Failed" in line and "rolled back" in line for line in got)


def test_serving_revisions_are_shown_however_many_others_there_are() -> None:
    others = tuple(revision(f"wine-x{i}", "Retired") for i in range(20))
    got = drawn(View(deployment({"rollout": ROLLOUT}), (*others, revision("wine-a", "Stable"))))
    assert "wine-a" in got


def test_monitors_show_figures_and_the_alarm_its_sentence() -> None:
    monitors = [
        {
            "name": "drift",
            "type": "Drift",
            "state": "Alarm",
            "message": "temp moved",
            "statistic": 0.31,
            "threshold": 0.12,
        },
        {"name": "outliers", "type": "Outlier", "state": "Ok", "message": "calm"},
    ]
    got = drawn(View(deployment({"monitors": monitors})))
    assert "drift  Alarm  0.31 (threshold 0.12)  temp moved" in got
    assert "outliers  Ok" in got
    assert "calm" not in got


def test_retraining_shows_scores_and_when_the_next_may_start() -> None:
    status = {"retraining": {"nextAllowedAt": (NOW + timedelta(hours=3)).isoformat()}}
    got = drawn(View(deployment(status), runs=(run(),)))
    assert "wine-run-1  Refused  for accuracy 5m ago" in got
    assert "roc_auc: champion 0.700, challenger 0.600" in got
    assert "next run in 3h at the earliest" in got


def test_failure_of_a_server_is_named() -> None:
    status = {
        "modelStatus": {
            "transitionStatus": "BlockedByFailedLoad",
            "lastFailureInfo": {"reason": "DigestMismatch", "message": "push it again"},
        }
    }
    assert "DigestMismatch: push it again" in drawn(View(deployment(status)))


def test_pods_are_counted_and_those_that_wait_say_for_what() -> None:
    pods = (
        PodLine("wine-b-1", "wine-b", ready=True, state="Running"),
        PodLine("wine-b-2", "wine-b", ready=False, state="CrashLoopBackOff", restarts=4),
    )
    got = drawn(View(deployment({"rollout": ROLLOUT}), (revision("wine-b", "Canary"),), pods=pods))
    assert "1/2 ready, CrashLoopBackOff, 4 restarts" in got


def test_verbs_that_still_hold_are_told() -> None:
    rollout = {**ROLLOUT, "held": True, "pinned": "wine-a", "preview": "wine-b", "failedRevision": "wine-c"}
    got = drawn(View(deployment({"rollout": rollout})))
    assert "held  by the verb pause" in got
    assert "pinned  wine-a by the verb undo" in got
    assert "preview  wine-b" in got
    assert "rolled back  wine-c" in got


def test_warm_up_of_the_revision_on_trial_is_shown_and_an_older_one_not() -> None:
    warm_up = {"revision": "wine-b", "time": NOW.isoformat(), "message": "p99 61 ms with margin"}
    got = drawn(View(deployment({"rollout": {**ROLLOUT, "warmUp": warm_up}})))
    assert "warm-up  p99 61 ms with margin" in got
    older = {**warm_up, "revision": "wine-a"}
    assert "p99" not in drawn(View(deployment({"rollout": {**ROLLOUT, "warmUp": older}})))


def test_figures_of_a_warm_up_are_told_once() -> None:
    text = "wine-b is too slow"
    rollout = {
        "phase": "Degraded",
        "failedRevision": "wine-b",
        "message": f"Rolled back: {text}.",
        "warmUp": {"revision": "wine-b", "time": NOW.isoformat(), "withinBudget": False, "message": text},
    }
    condition = {
        "type": "WithinLatencyBudget",
        "status": "False",
        "reason": "TooSlow",
        "message": text,
        "lastTransitionTime": NOW.isoformat(),
    }
    assert drawn(View(deployment({"rollout": rollout, "conditions": [condition]}))).count(text) == 1


def test_arms_of_a_bandit_show_share_rewards_and_probability() -> None:
    arms = [
        {"name": "stable", "revision": "wine-a", "state": "Running", "weightPercent": 30},
        {
            "name": "forest",
            "revision": "wine-b",
            "state": "Running",
            "weightPercent": 70,
            "successes": 90,
            "failures": 10,
            "probabilityBest": 0.97,
        },
    ]
    status = {"type": "Bandit", "phase": "Running", "specHash": "a", "startedAt": ago(hours=1), "arms": arms}
    got = drawn(View(deployment({"experiment": status})))
    assert "experiment  Bandit Running 1h ago" in got
    (line,) = [line for line in got.splitlines() if "forest" in line]
    for want in ("wine-b", "70 %", "90 of 100", "97%"):
        assert want in line


def test_arms_of_an_ab_test_show_failures_and_the_winner() -> None:
    arm = {
        "name": "forest",
        "state": "Ended",
        "counts": {"total": 200, "bad": 20},
        "eValue": 123.4,
        "message": "better than stable",
    }
    status = {
        "type": "ABTest",
        "phase": "Ended",
        "specHash": "a",
        "endedAt": ago(minutes=3),
        "winner": "forest",
        "arms": [arm],
    }
    got = drawn(View(deployment({"experiment": status})))
    assert "experiment  ABTest Ended 3m ago  winner forest" in got
    (line,) = [line for line in got.splitlines() if "better than stable" in line]
    assert "20 of 200 (10.00%)" in line
    assert "123" in line


def test_shadow_shows_how_often_its_answers_agree() -> None:
    shadow = {"pairs": 400, "agreementRate": 0.975, "meanDifference": 0.0125}
    arm = {"name": "forest", "revision": "wine-b", "state": "Running", "shadow": shadow}
    status = {"type": "Shadow", "phase": "Running", "specHash": "a", "arms": [arm]}
    (line,) = [x for x in drawn(View(deployment({"experiment": status}))).splitlines() if "wine-b" in x]
    for want in ("400", "97.50%", "0.0125 on average"):
        assert want in line


def test_refused_verb_and_unseen_edit_are_told() -> None:
    last = {
        "id": "a",
        "verb": "Promote",
        "accepted": False,
        "reason": "NothingOnTrial",
        "message": "Edit the spec.",
    }
    got = drawn(View(deployment({"lastCommand": last, "observedGeneration": 1}, generation=2)))
    assert "last verb  Promote refused (NothingOnTrial)  Edit the spec." in got
    assert "has not seen the latest edit" in got


def test_conditions_are_shown_only_when_they_are_as_they_should_not_be() -> None:
    def condition(kind: str, status: str) -> dict[str, str]:
        return {
            "type": kind,
            "status": status,
            "reason": "R",
            "message": f"about {kind}",
            "lastTransitionTime": NOW.isoformat(),
        }

    wrong = [
        condition("Ready", "False"),
        condition("InvalidSpec", "True"),
        condition("WithinLatencyBudget", "False"),
    ]
    fine = [condition("RouteReady", "True"), condition("NameTaken", "False"), condition("Scaling", "Unknown")]
    got = drawn(View(deployment({"conditions": wrong + fine})))
    assert all(f"about {c['type']}" in got for c in wrong)
    assert not any(f"about {c['type']}" in got for c in fine)
