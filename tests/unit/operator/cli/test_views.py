"""What `get`, `history`, `why` and `weights` draw."""

from __future__ import annotations

from perennial.cli.views.deployments import render_deployments
from perennial.cli.views.history import render_history
from perennial.cli.views.weights import RouterLine, render_weights
from perennial.cli.views.why import render_why
from perennial_api import ModelRoute

from tests.unit.operator.cli.objects import (
    EVIDENCE,
    NOW,
    ROLLOUT,
    ago,
    deployment,
    drawn,
    revision,
    route_body,
)

ROUTE = ModelRoute.model_validate(route_body())


def _line(text: str, word: str) -> str:
    (line,) = [line for line in text.splitlines() if word in line]
    return line


def test_deployment_takes_one_line_with_both_revisions_and_its_age() -> None:
    ready = {"type": "Ready", "status": "True", "reason": "R", "lastTransitionTime": NOW.isoformat()}
    status = {"rollout": ROLLOUT, "conditions": [ready], "monitorsSummary": "Alarm drift"}
    got = _line(drawn(render_deployments([deployment(status)], NOW)), "wine-a")
    for want in ("shop", "wine", "True", "Progressing", "wine-b", "5 %", "Alarm drift", "3d"):
        assert want in got


def test_deployment_that_nobody_has_seen_is_pending() -> None:
    assert "Pending" in _line(drawn(render_deployments([deployment()], NOW)), "wine")


def test_history_says_where_a_revision_comes_from_and_why_it_went() -> None:
    bred = revision(
        "wine-b",
        "Failed",
        spec={"origin": "Retraining", "retrainingRun": "run-7"},
        canaryTime=ago(minutes=90),
        retiredTime=ago(minutes=80),
        reason="RatioExceeded",
        message="errors: too many",
    )
    got = _line(drawn(render_history([revision("wine-a", "Stable"), bred], NOW)), "wine-b")
    for want in (
        "Failed",
        "Retraining run-7",
        "9f2c9f2c9f2c",
        "2h ago",
        "1h ago",
        "RatioExceeded: errors: too many",
    ):
        assert want in got


def test_why_shows_samples_evidence_bound_decision_and_the_sentence() -> None:
    bad = revision("wine-b", "Failed", evidence=[EVIDENCE], reason="RatioExceeded", message="rolled back")
    got = drawn(render_why(bad, bad.status.evidence, NOW))
    assert "RatioExceeded: rolled back" in got
    line = _line(got, "10 of 100")
    for want in ("errors", "2", "10 of 100 (10.00%)", "19 of 1900 (1.00%)", "5.04e+04", "100", "Failed"):
        assert want in line
    assert "errors: too many [10 %]" in got


def test_why_shows_the_number_that_prometheus_gave_and_marks_a_dry_run() -> None:
    evidence = {
        **EVIDENCE,
        "metric": "revenue",
        "value": 0.87,
        "dryRun": True,
        "eValue": None,
        "bound": None,
        "decision": "Inconclusive",
        "reason": "BelowMin",
    }
    line = _line(
        drawn(render_why(r := revision("wine-b", "Canary", evidence=[evidence]), r.status.evidence, NOW)),
        "BelowMin",
    )
    assert "0.87" in line
    assert "Inconclusive (dry run)" in line
    assert "of 100" not in line


def test_why_of_the_first_revision_says_that_there_was_nothing_to_compare() -> None:
    assert "no stable revision to compare it with" in drawn(render_why(revision("wine-a", "Stable"), (), NOW))


def test_why_of_a_revision_without_rollout_says_so() -> None:
    waiting = revision("wine-b", "Candidate", spec={"parent": "wine-a"})
    assert "it has had no rollout" in drawn(render_why(waiting, (), NOW))


def test_weights_tell_what_is_routed_from_what_has_been_applied() -> None:
    rollout = deployment({"rollout": {**ROLLOUT, "weights": ROLLOUT["weights"][:1]}}).status.rollout
    routers = [
        RouterLine("gw-1", True, "Applied", 4, {"wine-a": 1900}),
        RouterLine("gw-2", False, "Applied", 3, {}),
        RouterLine("gw-3", True, "Quarantined", 3, {}, "a bad header"),
    ]
    got = drawn(render_weights(ROUTE, rollout, routers))
    assert "gets copies of 25 %, preview" in got
    assert _line(got, "Stable").count("95 %") == 2
    assert "Applied 4 of 4" in _line(got, "gw-1")
    assert "1900" in _line(got, "gw-1")
    assert "older 3 of 4" in _line(got, "gw-2")
    assert "Quarantined 3 of 4" in _line(got, "gw-3")
    assert "a bad header" in _line(got, "gw-3")


def test_weights_without_rights_or_routers_say_what_is_missing() -> None:
    assert "get on pods/proxy" in drawn(render_weights(ROUTE, None, None))
    assert "There is no gateway pod" in drawn(render_weights(ROUTE, None, []))
