from dataclasses import replace

import pytest
from perennial_server.batch.errors import CannotResume
from perennial_server.batch.plan import InputFile, Part, Plan, Segment, check_unchanged, read_plan
from perennial_server.batch.progress import Progress
from perennial_server.batch.record import Counts

FILE = InputFile("data/a.csv", "Csv", 100, "mtime:1")
PLAN = Plan(
    bundle_digest="sha256:aa",
    chunk_rows=10,
    output_format="Parquet",
    csv_delimiter=",",
    keep=("id",),
    files=(FILE,),
    segments=(Segment(0, 0, 0, 25, 0, 0), Segment(0, 1, 25, 10, 1, 1)),
)


def test_a_segment_is_cut_into_parts_of_at_most_chunk_rows():
    got = list(PLAN.cut(PLAN.segments[0]))
    want = [
        Part("part-00000-000000-0000", 0, 10),
        Part("part-00000-000000-0001", 10, 10),
        Part("part-00000-000000-0002", 20, 5),
    ]
    assert got == want
    assert (PLAN.rows, PLAN.parts) == (35, 4)


def test_a_plan_is_read_as_it_was_written():
    assert read_plan(PLAN.to_document()) == PLAN
    assert read_plan(replace(PLAN, keep=None).to_document()).keep is None


@pytest.mark.parametrize("spoil", [{"version": 99}, {"files": [{"path": "x"}]}, {"segments": [[1]]}])
def test_a_plan_of_another_make_is_refused(spoil):
    with pytest.raises(CannotResume):
        read_plan({**PLAN.to_document(), **spoil})


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"bundle_digest": "sha256:bb"}, "another bundle"),
        ({"chunk_rows": 11}, "chunk_rows"),
        ({"output_format": "Csv"}, "format"),
        ({"csv_delimiter": ";"}, "delimiter"),
        ({"keep": None}, "columns to keep"),
        ({"files": (replace(FILE, version="mtime:2"),)}, "data/a.csv"),
        ({"files": (replace(FILE, size_bytes=101),)}, "data/a.csv"),
        ({"files": ()}, "data/a.csv is gone"),
        ({"files": (FILE, replace(FILE, path="data/b.csv"))}, "data/b.csv is new"),
    ],
)
def test_what_changed_since_the_output_was_begun_is_named(change, want):
    with pytest.raises(CannotResume, match=want):
        check_unchanged(PLAN, replace(PLAN, **change))


def test_going_on_with_the_same_is_allowed():
    check_unchanged(PLAN, replace(PLAN, segments=()))


def test_progress_tells_rate_and_time_left_of_this_start_alone():
    now_s = [0.0]
    progress = Progress(PLAN, [Counts(scored=15)], 10, lambda: now_s[0])
    assert "eta_s=unknown" in progress.render()
    now_s[0] = 2.0
    progress.add(Counts(scored=9, rejected=1, flags=3))
    want = "rows=25/35 rejected=1 flags=3 parts=2/4 rows_per_s=5 eta_s=2"
    assert progress.render() == want


def test_progress_lines_come_no_more_often_than_asked(caplog):
    caplog.set_level("INFO")
    now_s = [0.0]
    progress = Progress(PLAN, [], 10, lambda: now_s[0])
    for now_s[0] in (4.0, 9.0, 10.0, 15.0):
        progress.add(Counts(scored=1))
    assert len(caplog.records) == 1
