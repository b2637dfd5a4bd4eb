"""What a server writes into the prediction log is what the observer reads from it."""

import json
import math

import numpy as np
import pytest
from perennial_bundle import Flag, Rows, Schema
from perennial_observer.api.tensors import TENSORS_TYPE, read_tensors
from perennial_observer.ingest.entries import LogBody, Rules, split_entries
from perennial_server.origin import Origin
from perennial_server.prediction_log.batch import LoggedBatch
from perennial_server.prediction_log.columnar import CONTENT_TYPE, render_log_body
from perennial_server.prediction_log.selection import build_selection
from perennial_server.prediction_log.tables import build_tables

NOW = 2_000_000_000.0
SCHEMA = Schema.model_validate(
    {
        "inputs": [
            {"name": "wind", "datatype": "FP64", "allow_missing": True},
            {"name": "temp", "datatype": "FP64", "allow_missing": True},
            {"name": "at", "datatype": "BYTES", "role": "EventTime"},
            {"name": "tail", "datatype": "BYTES", "role": "Passthrough", "allow_missing": True},
        ],
        "outputs": [
            {"name": "predict", "datatype": "INT64", "role": "Output"},
            {"name": "probability", "datatype": "FP64", "role": "Output"},
        ],
    }
)


def build_batch(first, sizes, *, as_matrix, shadow=False, flags=()):
    n = sum(sizes)
    wind = [first + i + 0.1 for i in range(n)]
    temp = [math.nan if i % 3 == 0 else float(i) for i in range(n)]
    columns = {"at": ["2013-01-01T00:00:00Z"] * n, "tail": [None if i % 2 else "N1" for i in range(n)]}
    matrix = np.array([wind, temp]).T if as_matrix else None
    if not as_matrix:
        columns |= {"wind": wind, "temp": [None if math.isnan(value) else value for value in temp]}
    return LoggedBatch(
        time_s=NOW - 5,
        origins=tuple(
            Origin(f"p{first + i}", "c0ffee" if i else None, is_shadow=shadow) for i in range(len(sizes))
        ),
        sizes=tuple(sizes),
        rows=Rows(n, columns, matrix),
        outputs={"predict": np.arange(n), "probability": np.linspace(0, 1, n)},
        flags=tuple(flags),
    )


def send(*batches, percent=100, mode="All", exclude=()):
    selection = build_selection(SCHEMA, percent=percent, mode=mode, exclude=frozenset(exclude))
    body = render_log_body(build_tables(batches, selection), revision="wine-1", percent=percent)
    parsed = LogBody.model_validate(read_tensors(body))
    assert parsed.percent == percent
    return split_entries(parsed, Rules(SCHEMA, "at", NOW, 86_400.0))


def test_both_sides_call_the_message_the_same():
    assert CONTENT_TYPE == TENSORS_TYPE


@pytest.mark.parametrize("as_matrix", [True, False])
def test_rows_arrive_as_they_were_sent(as_matrix):
    flags = [Flag(3, "temp", "Missing", "Imputed")]
    got = send(
        build_batch(0, [1, 2, 1], as_matrix=as_matrix, flags=flags), build_batch(10, [2], as_matrix=as_matrix)
    )
    assert (got.rejected, got.shadow) == ([], [])
    assert [(row.prediction_id, row.row, row.client) for row in got.fitting] == [
        ("p0", 0, None),
        ("p1", 0, "c0ffee"),
        ("p1", 1, "c0ffee"),
        ("p2", 0, "c0ffee"),
        ("p10", 0, None),
        ("p10", 1, None),
    ]
    assert {row.event_time for row in got.fitting} == {1_356_998_400.0}
    third, fourth = (json.loads(row.inputs) for row in got.fitting[2:4])
    assert third == {"wind": 2.1, "temp": 2.0, "at": "2013-01-01T00:00:00Z", "tail": "N1"}
    assert fourth == {"wind": 3.1, "temp": None, "at": "2013-01-01T00:00:00Z", "tail": None}
    assert json.loads(got.fitting[3].outputs) == {"predict": 3, "probability": 1.0}
    assert [row.flags is not None for row in got.fitting] == [False] * 3 + [True] + [False] * 2


def test_mirrored_requests_arrive_as_answers_only():
    got = send(build_batch(0, [1, 2], as_matrix=True, shadow=True), build_batch(10, [1], as_matrix=False))
    assert [row.prediction_id for row in got.fitting] == ["p10"]
    assert [(row.prediction_id, row.row) for row in got.shadow] == [("p0", 0), ("p1", 0), ("p1", 1)]


@pytest.mark.parametrize(
    ("mode", "inputs", "outputs"),
    [("Request", {"wind", "temp", "at"}, set()), ("Response", {"at"}, {"predict", "probability"})],
)
def test_every_mode_fits_what_the_observer_expects(mode, inputs, outputs):
    got = send(build_batch(0, [2], as_matrix=True), mode=mode, exclude={"tail"})
    assert got.rejected == []
    assert [set(json.loads(row.inputs)) for row in got.fitting] == [inputs] * 2
    assert [set(json.loads(row.outputs)) for row in got.fitting] == [outputs] * 2
