import math

import orjson
import pytest
from perennial_bundle import Rows, Schema
from perennial_bundle.sampling import sample_place
from perennial_observer.ingest.entries import LogBody, Rules, split_entries

SCHEMA = Schema.model_validate(
    {
        "inputs": [
            {"name": "x", "datatype": "FP64", "allow_missing": True},
            {"name": "kind", "datatype": "BYTES"},
            {"name": "at", "datatype": "BYTES", "role": "EventTime"},
        ],
        "outputs": [{"name": "predict", "datatype": "INT64", "role": "Output"}],
    }
)
NOW = 2_000_000_000.0


def split(inputs, outputs=None, **options):
    result = split_all(inputs, outputs, **options)
    return result.fitting, result.rejected


def split_all(inputs, outputs=None, *, schema=SCHEMA, event_time="at", time=NOW - 5.0, **more):
    outputs = {"predict": [1]} if outputs is None else outputs
    body = LogBody.model_validate(
        {
            "revision": "r",
            "entries": [{"prediction_id": "p", "time": time, "inputs": inputs, "outputs": outputs, **more}],
        }
    )
    return split_entries(body, Rules(schema, event_time, NOW, 86_400.0))


def test_the_event_time_is_read_from_its_column():
    rows, rejected = split({"x": [1.5], "kind": ["a"], "at": ["2013-01-01T05:00:00Z"]})
    assert rejected == []
    assert (rows[0].event_time, rows[0].inputs) == (
        1_357_016_400.0,
        '{"x":1.5,"kind":"a","at":"2013-01-01T05:00:00Z"}',
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"x": ["one"]}, "WrongType"),
        ({"kind": [7]}, "WrongType"),
        ({"y": [1]}, "UnknownColumn"),
        ({"x": [[1, 2]]}, "NotScalar"),
        ({"at": [None]}, "NoEventTime"),
        ({"at": ["yesterday"]}, "InvalidEventTime"),
        ({"at": ["0001-01-01T00:00:00Z"]}, "InvalidEventTime"),
        ({"at": ["2963-01-01T00:00:00Z"]}, "EventTimeInFuture"),
        ({"x": [1.0, 2.0]}, "LengthMismatch"),
        ({"kind": ["a" * 300_000]}, "RowTooLarge"),
    ],
)
def test_a_row_that_does_not_fit_has_a_reason(changes, reason):
    rows, rejected = split({"x": [1.5], "kind": ["a"], "at": ["2013-01-01T05:00:00Z"], **changes})
    assert rows == []
    assert [item.reason for item in rejected] == [reason]


@pytest.mark.parametrize("at", [-1e12, -1e300, -2_208_988_801.0])
def test_a_number_that_is_no_time_is_rejected_with_its_row_and_counted(at):
    schema = Schema.model_validate(
        {
            "inputs": [
                {"name": "x", "datatype": "FP64"},
                {"name": "at", "datatype": "FP64", "role": "EventTime"},
            ],
            "outputs": [{"name": "predict", "datatype": "INT64", "role": "Output"}],
        }
    )
    got = split_all(
        {"x": [1.0] * 3, "at": [at, -2_208_988_800.0, 1_000.0]}, {"predict": [1] * 3}, schema=schema
    )
    assert [(row.row, row.event_time) for row in got.fitting] == [(1, -2_208_988_800.0), (2, 1_000.0)]
    assert [(item.row, item.reason) for item in got.rejected] == [(0, "InvalidEventTime")]


@pytest.mark.parametrize(
    ("side", "value"), [("x", math.inf), ("score", -math.inf), ("scores", [0.5, math.inf])]
)
def test_an_infinity_is_never_taken_for_a_missing_value(side, value):
    table = {"x": [1.0, None, 2.0], "score": [0.1, 0.2, None], "scores": [[0.5, 0.5]] * 3}
    table[side] = [table[side][0], value, table[side][2]]
    outputs = {name: table[name] for name in ("score", "scores")}
    got = split_all({"x": table["x"]}, outputs, schema=None, event_time=None)
    assert [row.row for row in got.fitting] == [0, 2]
    assert [row.reason for row in got.rejected] == ["InvalidOutput" if side == "scores" else "NotFinite"]


def test_numbers_that_only_sum_up_to_infinity_fit():
    got = split_all({"x": [1.7e308, 1.7e308]}, {"predict": [1, 1]}, schema=None, event_time=None)
    assert len(got.fitting) == 2


def test_of_more_rows_than_are_recorded_whole_requests_are_left_out_with_their_copies():
    ids = [f"p{i}" for i in range(40)]
    group = {
        "ids": ids,
        "times": [NOW] * 40,
        "sizes": [2] * 40,
        "clients": ids,
        "inputs": {"x": [float(i) for i in range(80)]},
        "outputs": {"predict": list(range(80))},
        "flags": [[row, "x", "OutOfRange", "Passed"] for row in range(80)],
    }
    entries = [
        {"prediction_id": name, "time": NOW, "inputs": {"x": ["odd"]}, "outputs": {"predict": [1]}}
        for name in ids
    ]
    body = LogBody.model_validate(
        {"revision": "r", "entries": entries, "groups": [group, {**group, "shadow": True}]}
    )
    got = split_entries(body, Rules(SCHEMA, None, NOW, 86_400.0, max_place=0.3))
    inside = [name for name in ids if sample_place(name) < 0.3]
    assert 0 < len(inside) < 40
    rows = [(name, row, 2 * ids.index(name) + row) for name in inside for row in (0, 1)]
    assert [(row.prediction_id, row.row, row.outputs) for row in got.fitting] == [
        (name, row, f'{{"predict":{n}}}') for name, row, n in rows
    ]
    assert [row.client for row in got.fitting] == [name for name, _, _ in rows]
    assert all(row.flags for row in got.fitting)
    assert [(row.prediction_id, row.row) for row in got.shadow] == [(name, row) for name, row, _ in rows]
    assert [row.prediction_id for row in got.rejected] == inside
    assert got.unsampled == 5 * (40 - len(inside))


def test_an_entry_without_rows_or_outputs_is_rejected():
    assert split({"x": []}, {"predict": []})[0] == []
    assert split({"x": [1.0]}, {})[1][0].reason == "NoRows"


def test_columns_that_the_logger_leaves_out_and_missing_values_fit():
    rows, rejected = split({"x": [None], "at": ["2013-01-01T05:00:00Z"]}, {"predict": [[0.1, 0.9]]})
    assert (len(rows), rejected) == (1, [])


@pytest.mark.parametrize(("time", "want"), [(NOW - 5, NOW - 5), (NOW + 500, NOW), (NOW - 1e6, NOW)])
def test_without_an_event_time_column_the_entrys_time_counts_if_it_is_plausible(time, want):
    rows, _ = split({"x": [1.0]}, schema=None, event_time=None, time=time)
    assert rows[0].event_time == want


def test_a_mirrored_answer_is_never_a_prediction_and_its_inputs_go():
    got = split_all({"x": [1.0, 2.0], "odd": [1, 2]}, {"predict": [0, 1]}, shadow=True)
    assert (got.fitting, got.rejected) == ([], [])
    assert [(row.row, row.outputs) for row in got.shadow] == [(0, '{"predict":0}'), (1, '{"predict":1}')]


def test_a_mirrored_answer_of_unequal_columns_is_dropped():
    assert split_all({"x": [1.0]}, {"predict": [0, 1], "probability": [0.5]}, shadow=True).shadow == []


def test_a_row_knows_its_client():
    rows, _ = split({"x": [1.0], "at": ["2013-01-01T05:00:00Z"]}, client="c0ffee")
    assert rows[0].client == "c0ffee"


def test_rows_that_the_schema_imputed_or_let_through_are_kept_as_they_were_sent():
    name = "x" * 256
    feature = {
        "name": name,
        "datatype": "FP64",
        "minimum": 0,
        "maximum": 1,
        "missing": "Impute",
        "impute_value": 0.5,
    }
    kind = {
        "name": "kind",
        "datatype": "BYTES",
        "categories": ["a"],
        "unknown_category": "Impute",
        "impute_value": "a",
    }
    schema = Schema.model_validate(
        {
            "inputs": [feature | {"out_of_range": "Impute"}, kind],
            "outputs": [{"name": "predict", "datatype": "INT64"}],
        }
    )
    columns = {name: [0.5, None, 7.0], "kind": ["a", "b", None]}
    lenient = Schema(
        inputs=(schema.inputs[0], schema.inputs[1].changed(missing="Pass")), outputs=schema.outputs
    )
    flags = lenient.check(Rows(3, columns)).flags
    group = {
        "ids": ["p"],
        "times": [NOW - 5.0],
        "sizes": [3],
        "inputs": columns,
        "outputs": {"predict": [1, 1, 1]},
    }
    group["flags"] = [[flag.row, flag.column, flag.kind, flag.action] for flag in flags]
    got = split_entries(
        LogBody.model_validate({"revision": "r", "groups": [group]}), Rules(lenient, None, NOW, 86_400.0)
    )
    assert got.rejected == []
    assert [orjson.loads(row.inputs)[name] for row in got.fitting] == [0.5, None, 7.0]
    assert [orjson.loads(row.inputs)["kind"] for row in got.fitting] == ["a", "b", None]
    assert [len(orjson.loads(row.flags or "[]")) for row in got.fitting] == [0, 2, 2]
