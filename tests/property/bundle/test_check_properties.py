"""The fast check of rows against a slow one that looks at every value, and a batch against its requests."""

import math
import os
from dataclasses import dataclass

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from perennial_bundle import Column, Flag, InvalidInput, Rows, Schema, event_time_seconds, join

MANY = 1000 if os.environ.get("PERENNIAL_CAMPAIGN", "") not in ("", "0") else 150
OUTPUTS = (Column(name="predict", datatype="FP64", role="Output"),)
KNOWN = ("", "a", "b")
ACTIONS = st.sampled_from(["Reject", "Impute", "Pass"])
IMPUTED = {"BOOL": True, "INT64": 2, "FP32": 0.1, "FP64": -7.5, "BYTES": "b"}
DATATYPES = list(IMPUTED)
NUMBERS = st.one_of(
    st.floats(-3, 3),
    st.integers(-4, 4),
    st.integers(-4, 4).map(float),
    st.sampled_from([0.1, 2**53 + 1, 2**63 - 1, -(2**63), -(2.0**63), 1e39, -0.0]),
)
ODD = st.one_of(
    st.sampled_from(
        [None, math.nan, pd.NA, math.inf, -math.inf, 2**63, 2.0**63, 10**400, True, "1.5", "c", "a"]
    ),
    st.sampled_from(
        [[1.0], {"a": 1}, b"a", 1j, np.float64(1.5), np.float64("nan"), np.int64(3), "x" * 70_000]
    ),
    st.text(max_size=3),
)
USUAL = {
    "BOOL": st.booleans(),
    "INT64": st.integers(-4, 4),
    "FP32": NUMBERS,
    "FP64": NUMBERS,
    "BYTES": st.sampled_from([*KNOWN, "c"]),
}
TIMES = st.sampled_from(["2013-01-01T00:00:00Z", "2013-01-01", "1970-01-01T00:01:00+01:00"])


@st.composite
def features(draw, name):
    """Draw a feature with any policies that make sense together."""
    datatype = draw(st.sampled_from(DATATYPES))
    fields = {
        "missing": draw(ACTIONS),
        "missing_seen": draw(st.booleans()),
        "impute_value": IMPUTED[datatype],
    }
    if datatype == "BYTES":
        fields["categorical"] = draw(st.booleans())
        if fields["categorical"] or draw(st.booleans()):
            fields |= {"categories": KNOWN, "unknown_category": draw(ACTIONS)}
    elif datatype != "BOOL" and draw(st.booleans()):
        fields |= {
            "minimum": draw(st.sampled_from([None, -1.5, -2])),
            "maximum": draw(st.sampled_from([2, 0.1])),
        }
        fields["out_of_range"] = draw(ACTIONS)
    return Column(name=name, datatype=datatype, **fields)


@st.composite
def schemas(draw):
    """Draw a schema of one to four features, with or without an event time and a passthrough column."""
    columns = [draw(features(f"f{i}")) for i in range(draw(st.integers(1, 4)))]
    if draw(st.booleans()):
        columns.append(Column(name="at", datatype="BYTES", role="EventTime"))
    if draw(st.booleans()):
        datatype = draw(st.sampled_from(DATATYPES))
        columns.append(Column(name="through", datatype=datatype, role="Passthrough", missing="Pass"))
    return Schema(inputs=tuple(draw(st.permutations(columns))), outputs=OUTPUTS)


def values_of(column, n, odd):
    """Values of a column, most of them usual."""
    usual = TIMES if column.role == "EventTime" else USUAL[column.datatype]
    return st.lists(
        st.one_of(usual, usual, ODD) if odd else st.one_of(usual, st.none()), min_size=n, max_size=n
    )


def is_number(value):
    return type(value) in {int, float} and not isinstance(value, bool)


@st.composite
def requests(draw, schema, odd):
    """Draw rows for a schema, given as a matrix, as arrays or as lists."""
    n = draw(st.integers(1, 4))
    columns = {c.name: draw(values_of(c, n, odd)) for c in schema.inputs}
    numeric = all(c.datatype in {"FP64", "FP32", "INT64"} for c in schema.features)
    if numeric and draw(st.booleans()):
        cells = st.one_of(st.floats(-3, 3), st.integers(-3, 3).map(float), st.just(math.nan))
        cells = st.one_of(cells, st.sampled_from([math.inf, 1e39, 2.0**63])) if odd else cells
        matrix = np.array([[draw(cells) for _ in schema.features] for _ in range(n)])
        with np.errstate(over="ignore"):
            matrix = matrix.astype(draw(st.sampled_from(["f8", "f4", "f2"])))
        return Rows(n, {k: v for k, v in columns.items() if schema.by_name[k].role != "Feature"}, matrix)
    as_array = draw(st.sets(st.sampled_from([*columns, "none"])))
    for name in as_array & columns.keys():
        values = columns[name]
        if all(map(is_number, values)) and all(abs(value) < 2**63 for value in values):
            columns[name] = np.array(values)
        elif all(value is None or type(value) is str for value in values):
            columns[name] = np.array(values, dtype=object)
    return Rows(n, columns)


class RefusedError(Exception):
    """The slow check refuses: column, reason."""


@dataclass
class Slow:
    """What the slow check makes of a column."""

    given: list
    flags: list


def is_missing(value):
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def look(column, value):
    """Judge one value by its type; returns it as the column's kind."""
    if is_missing(value):
        if column.missing == "Reject":
            raise RefusedError(column.name, "MissingValue")
        return None
    if column.datatype in {"BOOL", "BYTES"}:
        return look_at_text_or_bool(column, value)
    if type(value) not in {int, float}:
        raise RefusedError(column.name, "WrongType")
    if isinstance(value, float) and math.isinf(value):
        raise RefusedError(column.name, "NotFinite")
    is_integer = column.datatype == "INT64"
    if is_integer and value != math.floor(value):
        raise RefusedError(column.name, "WrongType")
    if (isinstance(value, int) or is_integer) and not -(2**63) <= value <= 2**63 - 1:
        raise RefusedError(column.name, "OutOfRange")
    return int(value) if is_integer else float(value)


def look_at_text_or_bool(column, value):
    if type(value) is not {"BOOL": bool, "BYTES": str}[column.datatype]:
        raise RefusedError(column.name, "WrongType")
    if column.datatype == "BYTES" and len(value) > 65_536:
        raise RefusedError(column.name, "TooLong")
    if column.unknown_category == "Reject" and value not in column.categories:
        raise RefusedError(column.name, "UnknownCategory")
    return value


def check_fast(schema, rows):
    """The checked rows, or column and reason of the refusal."""
    try:
        return schema.check(rows)
    except InvalidInput as error:
        assert len(error.message) < 1000  # noqa: PT017  of every refusal, whichever test meets it
        return error.field, error.reason


def check_slowly(column, values):
    """Check a column, value by value."""
    values = values.tolist() if isinstance(values, np.ndarray) else values
    seen = [look(column, value) for value in values]
    if column.role == "EventTime":
        for value in seen:
            try:
                event_time_seconds([value])
            except ValueError:
                raise RefusedError(column.name, "WrongType") from None
    if column.datatype == "FP32":
        with np.errstate(over="ignore"):
            seen = [None if value is None else float(np.float32(value)) for value in seen]
        if any(value is not None and math.isinf(value) for value in seen):
            raise RefusedError(column.name, "NotFinite")
    result = Slow([], [])
    for row, value in enumerate(seen):
        kind, action, given = judge_slowly(column, value)
        if action == "Reject":
            raise RefusedError(column.name, kind)
        result.given.append(given if action == "Impute" else value)
        is_news = not (kind == "Missing" and action == "Pass" and column.missing_seen)
        if kind and is_news and column.role == "Feature":
            result.flags.append(Flag(row, column.name, kind, {"Impute": "Imputed", "Pass": "Passed"}[action]))
    return result


def judge_slowly(column, value):
    """Kind of a value's strangeness, what becomes of it, and what would take its place."""
    if value is None:
        return "Missing", column.missing, column.impute_value
    if column.categories is not None and value not in column.categories:
        return "UnknownCategory", column.unknown_category, column.impute_value
    single = np.float32 if column.datatype == "FP32" else float
    if column.minimum is not None and single(value) < single(column.minimum):
        return "OutOfRange", column.out_of_range, nearest(column, column.minimum, math.ceil)
    if column.maximum is not None and single(value) > single(column.maximum):
        return "OutOfRange", column.out_of_range, nearest(column, column.maximum, math.floor)
    return "", "Pass", None


def nearest(column, bound, whole):
    return whole(bound) if column.datatype == "INT64" else bound


def to_series(column, values):
    """Build a column in its documented dtype."""
    has_missing = any(value is None for value in values)
    values = [math.nan if value is None else value for value in values]
    if column.categorical:
        known = [value if value in column.categories else None for value in values]
        return pd.Series(pd.Categorical(known, categories=list(column.categories)))
    dtype = {"FP64": "float64", "FP32": "float32", "BYTES": "object"}.get(column.datatype)
    if column.datatype == "INT64":
        dtype = "float64" if has_missing else "int64"
    if column.datatype == "BOOL":
        dtype = "object" if has_missing else "bool"
    return pd.Series(values, dtype=dtype)


def as_columns(schema, rows):
    columns = dict(rows.columns)
    if rows.matrix is not None:
        columns |= dict(zip(schema.feature_names, rows.matrix.T, strict=True))
    return columns


def same_frames(got, want):
    pd.testing.assert_frame_equal(got, want, check_exact=True, check_index_type=False)


@settings(max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_the_fast_check_says_what_a_look_at_every_value_says(data):
    schema = data.draw(schemas())
    rows = data.draw(requests(schema, odd=True))
    columns = as_columns(schema, rows)
    try:
        slow = {c.name: check_slowly(c, columns[c.name]) for c in schema.inputs}
    except RefusedError as refused:
        slow, want = {}, refused.args
    got = check_fast(schema, rows)
    if not slow:
        assert got == want
        return
    same_frames(got.frame, pd.DataFrame({c.name: to_series(c, slow[c.name].given) for c in schema.inputs}))
    assert list(got.flags) == [flag for c in schema.inputs for flag in slow[c.name].flags]


@settings(max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_batch_is_checked_as_each_of_its_requests_alone(data):
    schema = data.draw(schemas())
    one = data.draw(requests(schema, odd=False))
    parts = [
        p for p in (data.draw(requests(schema, odd=False)) for _ in range(3)) if p.layout() == one.layout()
    ]
    parts = [one, *parts]
    alone = [check_fast(schema, part) for part in parts]
    faults = [checked for checked in alone if isinstance(checked, tuple)]
    got = check_fast(schema, join(parts))
    if faults:
        assert got in faults
        return
    starts = np.cumsum([0, *(part.n for part in parts)])
    shifted = [
        Flag(flag.row + int(start), flag.column, flag.kind, flag.action)
        for start, checked in zip(starts, alone, strict=False)
        for flag in checked.flags
    ]
    assert sorted(got.flags, key=repr) == sorted(shifted, key=repr)
    # A column of whole numbers or booleans takes the dtype that holds what is missing in any of the requests.
    same_frames(got.frame, pd.concat([checked.frame for checked in alone], ignore_index=True))


JUNK = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.binary(max_size=4)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_is_sent_is_answered_or_refused_with_a_field_and_a_sentence(data):
    schema = data.draw(schemas())
    names = st.sampled_from([*schema.by_name, "stranger"])
    columns = data.draw(st.dictionaries(names, JUNK, max_size=len(schema.inputs) + 1))
    matrix = data.draw(
        st.sampled_from(
            [
                None,
                np.zeros((2, 1)),
                np.zeros((1, 2, 3)),
                np.array([["a", None]]),
                np.zeros((0, 2)),
                np.array(1),
            ]
        )
    )
    got = check_fast(schema, Rows(data.draw(st.integers(0, 3)), columns, matrix))
    if not isinstance(got, tuple):
        assert len(got.frame) > 0
