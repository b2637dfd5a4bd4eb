"""What the log's messages say, to the observer and to a sink."""

import json
import math

import numpy as np
import pytest
from perennial_bundle import Flag
from perennial_bundle.sampling import is_sampled
from perennial_observer.api.tensors import read_tensors
from perennial_server.prediction_log.columnar import render_log_body
from perennial_server.prediction_log.events import render_events
from perennial_server.prediction_log.selection import Selection
from perennial_server.prediction_log.tables import build_tables

from .log_batches import build_batch

MATRIX = np.array([[1.0, 2.0], [3.0, math.nan]], np.float32)
COLUMNS = {"tail": ["N1", "N2"], "when": ["2013-01-01", "2013-01-02"]}


def build_selection(percent=100, mode="All", exclude=()):
    return Selection(percent, mode, frozenset(exclude), ("wind", "temp"), "when")


def render(*batches, **selection):
    tables = build_tables(batches, build_selection(**selection))
    return read_tensors(render_log_body(tables, revision="wine-1", percent=100))["groups"]


def build_full(**changes):
    values = {"columns": COLUMNS, "matrix": MATRIX, "time_s": 5.0} | changes
    return build_batch("a", "b", **values)


def test_batches_of_one_layout_are_one_group():
    got = render(build_full(), build_full(time_s=6.0, client="c0ffee"))
    assert got == [
        {
            "ids": ["a", "b"] * 2,
            "times": [5.0, 5.0, 6.0, 6.0],
            "sizes": [1] * 4,
            "inputs": {
                "tail": ["N1", "N2"] * 2,
                "when": ["2013-01-01", "2013-01-02"] * 2,
                "wind": [1.0, 3.0] * 2,
                "temp": [2.0, None] * 2,
            },
            "outputs": {"predict": [0, 1] * 2},
            "clients": [None, None, "c0ffee", "c0ffee"],
        }
    ]


def test_other_columns_other_outputs_and_mirrored_requests_are_other_groups():
    got = render(
        build_batch("a"),
        build_batch("b", columns={"y": [1]}),
        build_batch("c", "d", shadow={"d"}),
        build_batch("e"),
    )
    assert [(group["ids"], list(group["inputs"]), group.get("shadow")) for group in got] == [
        (["a", "c", "e"], ["x"], None),
        (["b"], ["y"], None),
        (["d"], ["x"], True),
    ]
    assert got[2]["outputs"] == {"predict": [1]}


def test_lists_and_arrays_of_one_column_are_joined():
    got = render(
        build_batch("a", columns={"x": [1.5]}),
        build_batch("b", columns={"x": np.array([2.5])}),
        build_batch("c", columns={"x": np.array([9.0, 3.5, 9.0])[1:2]}),
    )
    assert got[0]["inputs"] == {"x": [1.5, 2.5, 3.5]}


@pytest.mark.parametrize(
    "values",
    [
        np.array([True, False]),
        np.array([1, 2], np.uint8),
        np.array([1, 2], ">i4"),
        np.array([1.5, 2.5], np.float16),
        np.array(["a", "b"], dtype=object),
        np.array(["a", "b"]),
        np.arange(4.0)[::2],
    ],
    ids=lambda values: values.dtype.str,
)
def test_arrays_of_every_datatype_are_written(values):
    (group,) = render(build_batch("a", "b", columns={"x": values}))
    assert group["inputs"]["x"] == values.tolist()


def test_numbers_that_json_has_not_got_are_null():
    (group,) = render(build_batch("a", sizes=[3], columns={"x": [math.nan, math.inf, None]}))
    assert group["inputs"]["x"] == [None] * 3


def test_vectors_of_probabilities_stay_vectors():
    batch = build_batch("a", "b")
    batch.outputs["probability"] = np.array([[0.25, 0.75], [0.5, 0.5]])
    (group,) = render(batch)
    assert group["outputs"]["probability"] == [[0.25, 0.75], [0.5, 0.5]]


def test_flags_count_rows_within_the_group():
    flag = Flag(1, "temp", "Missing", "Imputed")
    (group,) = render(build_full(), build_full(flags=[flag]))
    assert group["flags"] == [[3, "temp", "Missing", "Imputed"]]


@pytest.mark.parametrize(
    ("mode", "inputs", "outputs"),
    [
        ("All", ["tail", "when", "wind", "temp"], ["predict"]),
        ("Request", ["tail", "when", "wind", "temp"], []),
        ("Response", ["when"], ["predict"]),
    ],
)
def test_a_mode_says_which_side_is_logged(mode, inputs, outputs):
    flag = Flag(1, "temp", "Missing", "Imputed")
    (group,) = render(build_full(flags=[flag]), mode=mode)
    assert (list(group["inputs"]), list(group["outputs"])) == (inputs, outputs)
    assert ("flags" in group) == (mode != "Response")


def test_an_excluded_column_leaves_neither_by_its_values_nor_by_its_flags():
    flags = [Flag(0, "wind", "OutOfRange", "Passed"), Flag(1, "tail", "UnknownCategory", "Passed")]
    tables = build_tables([build_full(flags=flags)], build_selection(exclude=["wind", "tail"]))
    for text in (
        render_log_body(tables, revision="wine-1", percent=100),
        render_events(tables, source="/shop/wine/wine-1"),
    ):
        assert not {word for word in (b"wind", b"tail", b"N1", b"N2") if word in text}
        assert b"temp" in text


def test_the_time_of_the_event_can_be_excluded_from_answers_too():
    (group,) = render(build_full(), mode="Response", exclude=["when"])
    assert group["inputs"] == {}


def test_nothing_is_left_of_requests_without_a_column_that_may_leave():
    assert render(build_batch("a"), mode="Request", exclude=["x"]) == []


@pytest.mark.parametrize("percent", [1, 30, 99])
def test_the_sample_is_told_by_ids_and_takes_rows_and_flags_along(percent):
    ids = [f"p{i}" for i in range(300)]
    sizes = [1 + i % 3 for i in range(300)]
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    flags = [Flag(start, "x", "Missing", "Passed") for start in starts]
    (group,) = render(build_batch(*ids, sizes=sizes, flags=flags), percent=percent)
    want = [i for i, name in enumerate(ids) if is_sampled(name, percent)]
    assert group["ids"] == [ids[i] for i in want]
    assert group["sizes"] == [sizes[i] for i in want]
    assert group["inputs"]["x"] == [float(starts[i] + k) for i in want for k in range(sizes[i])]
    assert [group["inputs"]["x"][row] for row, *_ in group["flags"]] == [starts[i] for i in want]


def test_an_event_holds_one_request():
    batch = build_batch("a", "b", sizes=[1, 2], time_s=1.5, flags=[Flag(2, "x", "Missing", "Imputed")])
    got = json.loads(render_events(build_tables([batch], build_selection()), source="/shop/wine/wine-1"))
    assert got[1] == {
        "specversion": "1.0",
        "type": "dev.perennial.prediction.v1",
        "source": "/shop/wine/wine-1",
        "id": "b",
        "time": "1970-01-01T00:00:01.500000Z",
        "datacontenttype": "application/json",
        "data": {
            "inputs": {"x": [1.0, 2.0]},
            "outputs": {"predict": [1, 2]},
            "flags": [{"row": 1, "column": "x", "kind": "Missing", "action": "Imputed"}],
        },
    }
    assert (got[0]["id"], got[0]["data"]["flags"]) == ("a", [])


def test_the_event_of_a_mirrored_request_says_so():
    tables = build_tables([build_batch("a", "b", shadow={"b"})], build_selection())
    got = json.loads(render_events(tables, source="/shop/wine/wine-2"))
    assert [(event["id"], event.get("shadow")) for event in got] == [("a", None), ("b", True)]
