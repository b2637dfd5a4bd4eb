import datetime as dt
import decimal
import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perennial_bundle import Column
from perennial_server.batch.columns import read_values
from perennial_server.batch.csv_files import BadLine, Run, cut_lines, parse_lines
from perennial_server.batch.errors import UnreadableInput
from perennial_server.batch.inputs import cut_batches
from perennial_server.batch.plan import Part

HEADER = b"a,b\n"


def split(data):
    return data.splitlines(keepends=True)


def test_a_stray_quote_is_told_without_reading_the_rest_again_for_each_line():
    """Read anew for each line, these thirty megabytes would take a quarter of an hour."""
    lines = [b'a"\n', *[b"%099d\n" % 7] * 300_000]
    with pytest.raises(UnreadableInput, match="isn't closed before the end"):
        list(cut_lines([HEADER, *lines], 10))


def test_lines_are_cut_where_rows_end_even_within_quotes():
    data = b'a,b\n1,"two\nlines"\n2,x\n3,"a ""quoted"" word"\n'
    runs = list(cut_lines(split(data), 2))
    assert [run.rows for run in runs] == [2, 1]
    assert data[runs[0].start : runs[0].end] == b'1,"two\nlines"\n2,x\n'


def test_empty_lines_are_no_rows_and_a_last_line_needs_no_end():
    assert list(cut_lines([b"a\n", b"\n", b"1\n", b"\r\n", b"2"], 10)) == [Run(2, 2, 8)]
    assert list(cut_lines([b"a\n"], 10)) == []
    assert list(cut_lines([], 10)) == []


def test_bad_lines_are_returned_with_their_places():
    table, bad = parse_lines(HEADER, b"1,2\n3\n\n4,5\n6,7,8\n", ",")
    assert table.to_pydict() == {"a": ["1", "4"], "b": ["2", "5"]}
    assert bad == [
        BadLine(1, "3", "has 1 fields where the header has 2"),
        BadLine(3, "6,7,8", "has 3 fields where the header has 2"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_name():
    table, _ = parse_lines(b"\xef\xbb\xbf" + HEADER, b"1,2\n", ",")
    assert table.column_names == ["a", "b"]


@pytest.mark.parametrize(
    ("header", "data"), [(b"a,a\n", b"1,2\n"), (b"\xff\n", b"1\n"), (b"", b""), (b"a,b\n", b"\xff,1\n")]
)
def test_what_is_no_csv_is_refused(header, data):
    with pytest.raises(UnreadableInput):
        parse_lines(header, data, ",")


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)


@given(st.lists(CELL, max_size=30), st.integers(1, 7))
def test_the_runs_of_a_file_hold_each_row_once(cells, max_rows):
    lines = "".join(f'x,"{cell.replace(chr(34), chr(34) * 2)}"\r\n' for cell in cells)
    data = HEADER + lines.encode()
    got = []
    for run in cut_lines(io.BytesIO(data), max_rows):
        table, bad = parse_lines(HEADER, data[run.start : run.end], ",")
        assert not bad
        assert table.num_rows == run.rows <= max_rows
        got += table["b"].to_pylist()
    assert got == cells


@pytest.mark.parametrize("sizes", [[10], [1] * 10, [3, 7], [4, 1, 5], [2, 2, 2, 2, 2]])
def test_batches_of_any_size_are_cut_at_the_borders_of_parts(sizes):
    values = iter(range(10))
    batches = (pa.record_batch({"x": [next(values) for _ in range(size)]}) for size in sizes)
    parts = [Part("b", 4, 4), Part("c", 8, 2)]
    got = {part.name: table["x"].to_pylist() for part, table in cut_batches(batches, parts)}
    assert got == {"b": [4, 5, 6, 7], "c": [8, 9]}


def test_a_row_group_with_fewer_rows_than_it_says_is_refused():
    with pytest.raises(UnreadableInput):
        list(cut_batches(iter([pa.record_batch({"x": [1, 2]})]), [Part("a", 0, 3)]))


def listed(values):
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


@pytest.mark.parametrize(
    ("datatype", "values", "want"),
    [
        ("FP64", ["1.5", "2"], [1.5, 2.0]),
        ("FP64", ["1.5", "", "NA", "storm"], [1.5, None, None, "storm"]),
        ("INT64", ["1", "2.0", "", "2.5", "x"], [1, 2, None, 2.5, "x"]),
        ("BOOL", ["true", "False", "0", "", "perhaps"], [True, False, False, None, "perhaps"]),
        ("BYTES", ["a", "", "NA"], ["a", None, "NA"]),
        ("FP64", [1, 2], [1, 2]),
        ("FP64", [1.5, None], [1.5, None]),
        ("INT64", [1.0, None, 2.5], [1, None, 2.5]),
        ("INT64", [1.0, 2.0], [1, 2]),
        ("FP64", [decimal.Decimal("1.5")], [1.5]),
        ("BYTES", [dt.date(2026, 1, 2), None], ["2026-01-02", None]),
        ("BYTES", [dt.datetime(2026, 1, 2, tzinfo=dt.UTC)], ["2026-01-02T00:00:00+00:00"]),
    ],
)
def test_values_are_read_as_the_schema_means_them(datatype, values, want):
    got = listed(read_values(Column(name="x", datatype=datatype), pa.chunked_array([pa.array(values)])))
    assert got == want


def test_dictionaries_are_read_as_their_words():
    values = pa.chunked_array([pa.array(["a", "b", "a"]).dictionary_encode()])
    assert read_values(Column(name="x", datatype="BYTES"), values) == ["a", "b", "a"]
