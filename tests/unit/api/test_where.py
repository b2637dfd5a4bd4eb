import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perennial_api.where import (
    All,
    AnyOf,
    Comparison,
    IsIn,
    IsMissing,
    Not,
    Operator,
    columns_of,
    parse_where,
)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("age < 30", Comparison("age", Operator.LESS, 30)),
        ("30 > age", Comparison("age", Operator.LESS, 30)),
        ("delay >= -1.5", Comparison("delay", Operator.AT_LEAST, -1.5)),
        ('country == "FR"', Comparison("country", Operator.EQUAL, "FR")),
        ("new != True", Comparison("new", Operator.UNEQUAL, constant=True)),
        ("new", Comparison("new", Operator.EQUAL, constant=True)),
        ("not new", Not(Comparison("new", Operator.EQUAL, constant=True))),
        ('country in ["FR", "DE"]', IsIn("country", ("FR", "DE"))),
        ("age not in (1, 2)", Not(IsIn("age", (1, 2)))),
        ("missing(age)", IsMissing("age")),
        ('missing(column("a b"))', IsMissing("a b")),
        (
            "18 <= age < 30",
            All((Comparison("age", Operator.AT_LEAST, 18), Comparison("age", Operator.LESS, 30))),
        ),
        (
            "(a < 1 or b < 2) and not c == 3",
            All(
                (
                    AnyOf((Comparison("a", Operator.LESS, 1), Comparison("b", Operator.LESS, 2))),
                    Not(Comparison("c", Operator.EQUAL, 3)),
                )
            ),
        ),
    ],
)
def test_a_condition_is_read(text, want):
    assert parse_where(text) == want


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "can't be read"),
        ("age <", "can't be read"),
        ("age = 3", "can't be read"),
        ("3", "isn't a condition"),
        ("age + 1 < 3", "isn't a column"),
        ("age < other", "isn't a constant"),
        ("age < None", "isn't a constant"),
        ("age is None", "isn't a comparison"),
        ("age in country", "has to be a list"),
        ("age in []", "has to be a list"),
        ("exec('x')", "isn't a condition"),
        ("().__class__", "isn't a condition"),
        ("missing(age, 3)", "isn't a condition"),
        ("column(3) < 1", "isn't a column"),
        ("(lambda: 1) < 1", "isn't a column"),
        ("a<1" + " and a<1" * 58, "where is too long"),
        ("a" * 600, "600 characters"),
        ("a < " + "(" * 300 + "1", "can't be read"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_to_write(text, message):
    with pytest.raises(ValueError, match="where") as refused:
        parse_where(text)
    assert message in str(refused.value)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(ValueError):
        assert columns_of(parse_where(text)) is not None


def test_columns_are_known():
    assert columns_of(parse_where("a < 1 and (b in [1] or missing(c)) and not d")) == {"a", "b", "c", "d"}
