import pytest
from perennial_demo.cluster import Snapshot, parse_snapshot
from perennial_demo.story import DAY_S, RECOVER_DAYS, Chapter, Story, step

from tests.unit.demo.builders import DIGESTS, deployment, evidence, report, revision, run, snapshot

FIRST = revision("f-1", "first", "Stable")
CANDIDATE = revision("f-2", "candidate", "Candidate", origin="Retraining")
PROMOTED = revision("f-2", "candidate", "Stable", origin="Retraining", evidence=[evidence("Successful")])
BAD_FAILED = revision("f-3", "bad", "Failed", evidence=[evidence("Failed", canary=(60, 15))])


def go(story, seen, *, wall_s=1.0, event_s=1.0):
    return step(
        story,
        seen,
        wall_s=wall_s,
        event_s=event_s,
        bad_digest=f"sha256:{DIGESTS['bad']}",
        compare_days=10,
        chapter_timeout_s=100,
    )


def start():
    return Story(Chapter.WATCH, entered_wall_s=0.0, entered_event_s=0.0)


def through(*looks):
    story = start()
    for seen, event_s in looks:
        story = go(story, seen, event_s=event_s)
    return story


WATCHED = snapshot(deployment(), FIRST, report(drift="Ok", auc="Ok"))
DRIFTED = snapshot(deployment(), FIRST, report(drift="Alarm", auc="Ok"))
RUNNING = snapshot(deployment(), FIRST, run("Running"), report(drift="Ok", auc="Alarm"))
ACCEPTED = snapshot(deployment(), FIRST, CANDIDATE, run("Accepted", candidate="f-2"))
SERVED = snapshot(deployment(stable="f-2"), PROMOTED, run("Accepted", candidate="f-2"))
ON_TRIAL = snapshot(
    deployment(stable="f-2", phase="Progressing", weights={"f-2": 80, "f-3": 20}),
    PROMOTED,
    revision("f-3", "bad", "Canary"),
    run("Accepted", candidate="f-2"),
)
BACK = snapshot(
    deployment(stable="f-2", phase="Degraded"), PROMOTED, BAD_FAILED, run("Accepted", candidate="f-2")
)


def test_whole_story_is_told_to_its_end():
    story = through((WATCHED, 1), (DRIFTED, 2), (RUNNING, 3), (ACCEPTED, 4), (SERVED, 5))
    assert story.chapter is Chapter.COMPARE
    assert story.promoted_event_s == 5
    story = go(story, SERVED, event_s=5 + 10 * DAY_S)
    assert story.chapter is Chapter.BAD
    story = go(story, ON_TRIAL)
    assert (story.chapter, story.bad_weight_percent) == (Chapter.BAD, 20)
    story = go(story, BACK, event_s=100.0)
    assert story.chapter is Chapter.RECOVER
    story = go(story, BACK, event_s=100.0 + RECOVER_DAYS * DAY_S)
    assert (story.chapter, story.failure) == (Chapter.END, None)
    assert story.drift.monitor == "drift"
    assert story.performance.monitor == "auc"


def test_alarm_that_was_cleared_stays_noted():
    story = through((DRIFTED, 2), (WATCHED, 3))
    assert story.drift.event_time_s == 2
    assert story.drift.message == "drift is Alarm"


def test_drift_alone_does_not_leave_the_watch():
    assert through((DRIFTED, 2), (DRIFTED, 3)).chapter is Chapter.WATCH


@pytest.mark.parametrize("phase", ["Refused", "Failed"])
def test_run_without_a_candidate_ends_the_story(phase):
    story = through((RUNNING, 3), (snapshot(deployment(), FIRST, run(phase)), 4))
    assert story.chapter is Chapter.END
    assert phase in story.failure


def test_candidate_that_is_rolled_back_ends_the_story():
    failed = revision("f-2", "candidate", "Failed", origin="Retraining")
    story = through(
        (RUNNING, 3),
        (ACCEPTED, 4),
        (snapshot(deployment(), FIRST, failed, run("Accepted", candidate="f-2")), 5),
    )
    assert "rolled back" in story.failure


def test_candidate_on_trial_is_not_yet_promoted():
    on_trial = snapshot(
        deployment(phase="Progressing", weights={"f-1": 80, "f-2": 20}),
        FIRST,
        CANDIDATE,
        run("Accepted", candidate="f-2"),
    )
    assert through((RUNNING, 3), (ACCEPTED, 4), (on_trial, 5)).chapter is Chapter.CANARY


def test_bad_version_that_becomes_stable_ends_the_story():
    story = through((RUNNING, 3), (ACCEPTED, 4), (SERVED, 5), (SERVED, 5 + 10 * DAY_S))
    won = snapshot(
        deployment(stable="f-3"), revision("f-3", "bad", "Stable"), run("Accepted", candidate="f-2")
    )
    assert "bad version became" in go(story, won).failure


def test_bad_version_still_getting_traffic_is_not_rolled_back_yet():
    story = through((RUNNING, 3), (ACCEPTED, 4), (SERVED, 5), (SERVED, 5 + 10 * DAY_S))
    draining = snapshot(
        deployment(stable="f-2", phase="Degraded", weights={"f-2": 80, "f-3": 20}), PROMOTED, BAD_FAILED
    )
    assert go(story, draining).chapter is Chapter.BAD


def test_chapter_that_lasts_too_long_ends_the_story():
    story = go(go(start(), RUNNING, wall_s=10), RUNNING, wall_s=200)
    assert story.chapter is Chapter.END
    assert story.failure == "after 100 s still: performance alarm: a candidate is trained"


def test_clock_goes_slower_while_the_control_plane_works():
    watching, retraining = start(), go(start(), RUNNING)
    assert retraining.pace < watching.pace


def test_a_cluster_without_the_deployment_is_an_empty_look():
    assert parse_snapshot([], "flights") == Snapshot()
    assert go(start(), Snapshot()).chapter is Chapter.WATCH
