import numpy as np
import pandas as pd
import pytest
from perennial_bundle import Column, Rows, frames
from perennial_bundle.scoring import select_features

from .test_schema import build_schema


def check_mixed():
    schema = build_schema(
        Column(name="at", datatype="FP64", role="EventTime"),
        Column(name="i", datatype="INT64", missing="Pass"),
        Column(name="s", datatype="BYTES", categories=("a", "b"), categorical=True),
        Column(name="f", datatype="FP64"),
        Column(name="b", datatype="BOOL"),
        Column(name="j", datatype="INT64"),
    )
    columns = {
        "at": [0.0, 1.0],
        "i": [1, None],
        "s": ["b", "a"],
        "f": [0.5, 1],
        "b": [True, False],
        "j": [1, 2],
    }
    return schema, schema.check(Rows(2, columns)).frame


def test_an_older_pandas_builds_the_same_frame(monkeypatch):
    _, want = check_mixed()
    monkeypatch.setattr(frames, "_join_blocks", None)
    _, got = check_mixed()
    pd.testing.assert_frame_equal(got, want)


def test_the_model_gets_its_features_in_its_order_whatever_else_the_frame_holds():
    schema, frame = check_mixed()
    got = select_features(schema, frame[["j", "b", "at", "f", "s", "i"]])
    assert list(got.columns) == ["i", "s", "f", "b", "j"]
    assert [str(dtype) for dtype in got.dtypes] == ["float64", "category", "float64", "bool", "int64"]
    with pytest.raises(KeyError):
        select_features(schema, frame.drop(columns="f"))


def test_a_model_that_changes_its_frame_changes_neither_the_request_nor_the_next_frame():
    schema = build_schema(Column(name="f", datatype="FP64"), Column(name="g", datatype="FP64"))
    matrix = np.ones((1, 2))
    frame = schema.check(Rows(1, {}, matrix)).frame
    given = select_features(schema, frame)
    given["f"] = -1.0
    given.columns.name = "mine"
    assert (matrix[0, 0], frame.f[0]) == (1.0, 1.0)
    assert schema.check(Rows(1, {}, matrix)).frame.columns.name is None
