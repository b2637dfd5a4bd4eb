from collections import Counter

from perennial_demo.auc import AucPair
from perennial_demo.story import Chapter, Story
from perennial_demo.traffic import Ledger
from perennial_demo.view import Scene, render_line, render_scene
from rich.console import Console

from tests.unit.demo.builders import deployment, evidence, report, revision, run, snapshot


def scene():
    seen = snapshot(
        deployment(
            phase="Progressing",
            weights={"f-1": 80, "f-2": 20},
            evidence=[evidence("Inconclusive", canary=(40, 1))],
        ),
        revision("f-1", "first", "Stable"),
        revision("f-2", "candidate", "Canary", origin="Retraining"),
        run("Accepted", candidate="f-2"),
        report(drift="Alarm", auc="Ok"),
    )
    story = Story(Chapter.CANARY, 0.0, 0.0, run=seen.runs[0])
    ledger = Ledger(requests=Counter({"f-1": 80, "f-2": 20}), failed=Counter({"f-2": 1}))
    return Scene(story, seen, ledger, 1_365_000_000.0, 60.0, False, AucPair(0.71, 0.68, 9000), None)


def test_view_shows_everything_a_person_wants_to_see():
    console = Console(width=140, record=True, file=None, force_terminal=False, quiet=False)
    with console.capture() as captured:
        console.print(render_scene(scene()))
    text = captured.get()
    for want in (
        "f-2",
        "20 %",
        "Retraining, Canary",
        "drift",
        "Alarm",
        "run-1",
        "Accepted",
        "e-value 0.5 of 20",
        "0.710",
        "+0.030",
    ):
        assert want in text, want


def test_plain_line_says_the_same_in_short():
    got = render_line(scene())
    assert "\n" not in got
    for want in ("canary", "100 requests, 1 failed", "f-2 20 %", "drift Alarm", "AUC 0.710/0.680"):
        assert want in got, want


def test_view_of_a_cluster_that_has_said_nothing_yet_can_be_drawn():
    empty = Scene(Story(Chapter.WATCH, 0.0, 0.0), snapshot(), Ledger(), 0.0, 0.0, True, None, None)
    console = Console(width=140)
    with console.capture() as captured:
        console.print(render_scene(empty))
    assert "clock held" in captured.get()
    assert "no run" in render_line(empty)
