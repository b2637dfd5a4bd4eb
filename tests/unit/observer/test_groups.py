"""Many requests at once, by column: they become the rows that they would be one by one."""

import json

import pytest
from perennial_bundle import Schema
from perennial_observer.ingest.entries import LogBody, Rules, split_entries
from pydantic import ValidationError

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
HOURS = ["2013-01-01T05:00:00Z", "2013-01-01T06:00:00Z", "2013-01-01T07:00:00Z"]


def build_group(**changes):
    group = {
        "ids": ["p", "q"],
        "times": [NOW - 5, NOW - 4],
        "sizes": [2, 1],
        "inputs": {"x": [1.5, None, 3.5], "kind": ["a", "b", "c"], "at": HOURS},
        "outputs": {"predict": [0, 1, 0]},
    }
    return {name: value for name, value in (group | changes).items() if value is not None}


def split(*groups, schema=SCHEMA, event_time="at"):
    body = LogBody.model_validate({"revision": "r", "groups": list(groups)})
    return split_entries(body, Rules(schema, event_time, NOW, 86_400.0))


def as_entries(group):
    """The same requests, each for itself."""
    start = 0
    entries = []
    for name, time, size in zip(group["ids"], group["times"], group["sizes"], strict=True):
        cut = slice(start, start + size)
        inputs = {column: values[cut] for column, values in group["inputs"].items()}
        outputs = {column: values[cut] for column, values in group["outputs"].items()}
        entries.append({"prediction_id": name, "time": time, "inputs": inputs, "outputs": outputs})
        start += size
    return {"revision": "r", "entries": entries}


@pytest.mark.parametrize("event_time", ["at", None])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"inputs": {"x": [1.5, "one", 3.5], "kind": ["a", "b", 7], "at": HOURS}},
        {"inputs": {"x": [1.5, [2], 3.5], "kind": ["a", "b", "c"], "at": HOURS}},
        {"inputs": {"x": [1.5, 2.5, 3.5], "y": [1, 2, 3], "at": HOURS}},
        {"inputs": {"x": [1.5, 2.5, 3.5], "at": [HOURS[0], "soon", None]}},
        {"inputs": {"x": [1.5, 2.5, 3.5], "at": [HOURS[0], "2963-01-01T00:00:00Z", HOURS[1]]}},
        {"inputs": {"x": [1.5, 2.5, 3.5]}},
        {"inputs": {"kind": ["a", "a" * 300_000, "c"], "at": HOURS}},
        {"outputs": {"predict": [[0.1, 0.9], [0.5, None], {"a": 1}]}},
    ],
)
def test_a_group_is_judged_as_its_requests_would_be_alone(changes, event_time):
    group = build_group(**changes)
    rules = Rules(SCHEMA, event_time, NOW, 86_400.0)
    want = split_entries(LogBody.model_validate(as_entries(group)), rules)
    got = split(group, event_time=event_time)
    assert (got.fitting, got.rejected) == (want.fitting, want.rejected)
    assert len(got.fitting) + len(got.rejected) == 3


def test_rows_are_counted_within_their_request():
    got = split(build_group(clients=["one", None])).fitting
    assert [(row.prediction_id, row.row, row.client) for row in got] == [
        ("p", 0, "one"),
        ("p", 1, "one"),
        ("q", 0, None),
    ]


def test_inputs_or_outputs_may_be_left_out():
    assert [row.outputs for row in split(build_group(outputs=None)).fitting] == ["{}"] * 3
    got = split(build_group(inputs={"at": HOURS})).fitting
    assert [row.inputs for row in got] == [json.dumps({"at": hour}, separators=(",", ":")) for hour in HOURS]


def test_flags_stand_beside_their_row_and_never_in_its_inputs():
    flags = [[1, "x", "Missing", "Imputed"], [1, "kind", "UnknownCategory", "Passed"]]
    got = split(build_group(flags=flags)).fitting
    assert [row.flags for row in got][::2] == [None, None]
    assert json.loads(got[1].flags) == [
        {"column": "x", "kind": "Missing", "action": "Imputed"},
        {"column": "kind", "kind": "UnknownCategory", "action": "Passed"},
    ]
    assert json.loads(got[1].inputs).keys() == {"x", "kind", "at"}


def test_a_message_of_requests_that_all_differ_is_read():
    """A client that sends other columns each time must not make the observer refuse a whole message."""
    groups = [
        {"ids": ["p"], "times": [1.0], "sizes": [1], "inputs": {f"{i}".rjust(256, "x"): [1.0]}}
        for i in range(3_000)
    ]
    flags = [[0, "x" * 256, "Missing", "Passed"]]
    got = split(*({**group, "flags": flags} for group in groups), schema=None, event_time=None)
    assert len(got.fitting) == 3_000


def test_a_mirrored_group_keeps_its_answers_only():
    got = split(build_group(shadow=True))
    assert (got.fitting, got.rejected) == ([], [])
    assert [(row.prediction_id, row.row, row.outputs) for row in got.shadow] == [
        ("p", 0, '{"predict":0}'),
        ("p", 1, '{"predict":1}'),
        ("q", 0, '{"predict":0}'),
    ]
    assert split(build_group(shadow=True, outputs=None)).shadow == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"times": [1.0]}, "one item for each request"),
        ({"clients": ["one"]}, "one item for each request"),
        ({"sizes": [2, 2]}, "4 values in each"),
        ({"sizes": [3, 0]}, "greater than or equal to 1"),
        ({"inputs": {"x": [1.0]}}, "3 values in each"),
        ({"inputs": None, "outputs": None}, "at least one column"),
        ({"inputs": None, "outputs": None, "sizes": [10**15, 1]}, "at least one column"),
        ({"flags": [[3, "x", "Missing", "Passed"]]}, "within the group's 3 rows"),
    ],
)
def test_a_group_that_does_not_hold_together_is_refused(changes, says):
    with pytest.raises(ValidationError, match=says):
        split(build_group(**changes))
