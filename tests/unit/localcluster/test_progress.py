"""The time left follows what was measured, and is shown without a terminal, too."""

import io
import json

import pytest
from perennial_localcluster.progress import Step, estimate_left_s, read_durations, render_duration, run_steps


@pytest.mark.parametrize(
    ("expected_s", "done_s", "running_s", "want_s"),
    [
        ([10, 20, 30], [], 0, 60),
        ([10, 20, 30], [], 4, 56),
        ([10, 10], [20], 0, 20),
        ([10, 10], [10], 15, 0),
        ([1, 99], [10], 0, 99),
        ([10], [10], 0, 0),
    ],
    ids=["start", "running", "slower machine", "overdue is not negative", "too little done to judge", "end"],
)
def test_estimate(expected_s, done_s, running_s, want_s):
    assert estimate_left_s(expected_s, done_s, running_s) == pytest.approx(want_s)


def test_durations_read_as_people_say_them():
    assert [render_duration(s) for s in (0.4, 59.6, 61, 190)] == [
        "0 s",
        "1 min 00 s",
        "1 min 01 s",
        "3 min 10 s",
    ]


def test_log_gets_one_line_per_step_and_durations_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("perennial_localcluster.progress.LEAST_MEASURED_S", 0)
    done, stream = [], io.StringIO()
    steps = [Step("first", 60, lambda: done.append(1)), Step("second", 30, lambda: done.append(2))]
    run_steps(steps, tmp_path / "durations.json", stream=stream)
    assert done == [1, 2]
    assert stream.getvalue().splitlines()[0] == "[1/2] first (about 1 min 30 s left)"
    assert set(json.loads((tmp_path / "durations.json").read_text())) == {"first", "second"}


def test_damaged_durations_are_ignored(tmp_path):
    (tmp_path / "durations.json").write_text("[1")
    assert read_durations(tmp_path / "durations.json") == {}
