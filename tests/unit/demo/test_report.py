import json
from dataclasses import replace

import pytest
from perennial_demo.auc import AucPair
from perennial_demo.report import BadSpell, assess, build_report, render_text
from perennial_demo.story import Alarm, Chapter, Story
from perennial_demo.traffic import Failure, Ledger

from tests.unit.demo.builders import deployment, evidence, revision, run, snapshot

SEEN = snapshot(
    deployment(stable="f-2", phase="Degraded"),
    revision("f-2", "candidate", "Stable", origin="Retraining", evidence=[evidence("Successful")]),
    revision("f-3", "bad", "Failed", evidence=[evidence("Failed")]),
    run("Accepted", candidate="f-2"),
)
GOOD = Story(
    Chapter.END,
    entered_wall_s=0.0,
    entered_event_s=0.0,
    drift=Alarm("drift", "temp moved by 0.7", 1.0),
    run=SEEN.runs[0],
    candidate=SEEN.revisions[0],
    promoted_event_s=5.0,
    bad=SEEN.revisions[1],
    bad_weight_percent=20,
)
SPELL = BadSpell(requests=500, of_bad=95)


def ledger(**failed):
    got = Ledger()
    got.requests.update({"f-1": 1000, "f-2": 2000, "f-3": 95})
    for name, n in failed.items():
        for _ in range(n):
            got.fail(Failure(name.replace("_", "-"), 500, 0.0, "boom"))
    return got


def failed_checks(story, what, spell=SPELL):
    return [check.name for check in assess(story, what, spell) if not check.passed]


def test_story_as_it_should_be_passes_every_check():
    assert failed_checks(GOOD, ledger(f_3=25)) == []


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"drift": None}, "drift detected"),
        ({"run": None}, "retraining ran"),
        ({"run": run("Refused")}, "retraining ran"),
        ({"candidate": None}, "candidate promoted by its gates"),
        ({"promoted_event_s": None}, "candidate promoted by its gates"),
        (
            {"candidate": revision("f-2", "candidate", "Stable", origin="Retraining")},
            "candidate promoted by its gates",
        ),
        ({"bad": None}, "bad version rolled back"),
        ({"bad": revision("f-3", "bad", "Canary")}, "bad version rolled back"),
    ],
)
def test_each_missing_part_fails_its_check(change, want):
    parsed = {
        key: (snapshot(deployment(), value).runs or snapshot(deployment(), value).revisions)[0]
        if isinstance(value, dict)
        else value
        for key, value in change.items()
    }
    assert want in failed_checks(replace(GOOD, **parsed), ledger())


@pytest.mark.parametrize("name", ["f_1", "f_2", ""])
def test_failed_request_on_another_revision_or_without_answer_fails(name):
    assert failed_checks(GOOD, ledger(f_3=25, **{name: 1})) == ["no other request failed"]


def test_bad_version_that_got_more_than_its_share_fails():
    assert failed_checks(GOOD, ledger(), BadSpell(requests=500, of_bad=180)) == ["no other request failed"]


def test_share_may_stray_by_chance():
    assert failed_checks(GOOD, ledger(), BadSpell(requests=500, of_bad=115)) == []


def test_lost_feedback_fails():
    lost = ledger()
    lost.feedback_failures = 1
    assert failed_checks(GOOD, lost) == ["no other request failed"]


def build(story):
    return build_report(
        story,
        ledger(f_3=25),
        SPELL,
        seconds=300.0,
        from_s=1_362_096_000.0,
        until_s=1_369_000_000.0,
        since_promotion=AucPair(0.74, 0.72, 20_000),
        months=[("2013-03", AucPair(0.72, 0.72, 28_000))],
    )


def test_report_is_the_same_in_text_and_json():
    got = build(GOOD)
    assert got.passed
    document = json.loads(got.to_json())
    assert document["passed"] is True
    assert document["auc_since_promotion"] == {"served": 0.74, "never_retrained": 0.72, "rows": 20_000}
    assert document["retraining"]["championScore"] == 0.6
    text = render_text(got)
    assert "Replayed 2013-03-01 to 2013-05-19 in 300 s" in text
    assert text.count("[ok]") == 5


def test_story_that_ended_early_does_not_pass_whatever_the_checks_say():
    got = build(replace(GOOD, failure="the year ended"))
    assert not got.passed
    assert "the year ended" in render_text(got)
