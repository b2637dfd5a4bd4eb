from dataclasses import replace

import pytest
from perennial_api.modeldeployment.monitoring import Monitoring
from perennial_api.where import parse_where
from perennial_bundle import Schema
from perennial_observer.monitors.windows.slices import (
    UnknownFeature,
    check_columns,
    choose_rows,
    find_condition,
    slice_reference,
    slice_rows,
)
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import LoggedRow

ROWS = [
    {"age": 20, "country": "FR", "new": True},
    {"age": 40.5, "country": "DE", "new": False},
    {"age": None, "country": "IT"},
    {"country": None, "age": 30},
]


@pytest.mark.parametrize(
    ("where", "want"),
    [
        ("age < 30", [0]),
        ("age != 20", [1, 3]),
        ("20 <= age <= 30", [0, 3]),
        ('country in ["FR", "IT"]', [0, 2]),
        ('country not in ["FR", "IT"]', [1, 3]),
        ("missing(age)", [2]),
        ("missing(new)", [2, 3]),
        ("new", [0]),
        ("not new", [1, 2, 3]),
        ('age == "20"', []),
        ("country < 3", []),
        ('(age < 30 or country == "DE") and not missing(country)', [0, 1]),
    ],
)
def test_rows_belong_by_what_is_known_of_them(where, want):
    assert choose_rows(parse_where(where), ROWS).nonzero()[0].tolist() == want


def test_no_rows_are_no_rows():
    assert choose_rows(parse_where("age < 30"), []).shape == (0,)


COLUMNS = {"age": [20, 40.5, None, 30], "country": ["FR", "DE", "IT", None]}


def test_columns_are_cut_to_the_slice_and_keep_their_order():
    whole = replace(reference(), columns=COLUMNS)
    got = slice_reference(parse_where('age < 40 or country == "IT"'), whole)
    assert got.columns == {"age": [20, None, 30], "country": ["FR", "IT", None]}


def test_a_condition_on_a_column_that_is_not_there_keeps_nothing():
    whole = replace(reference(), columns=COLUMNS)
    assert slice_reference(parse_where("height < 40"), whole).columns == {"age": [], "country": []}


def test_the_reference_is_cut_with_its_outputs_and_times_and_has_a_digest_of_its_own():
    whole = reference()
    got = slice_reference(parse_where("age < 35"), whole)
    assert (got.columns["age"], got.outputs, got.event_time) == ([20, 30], {"predict": [0, 3]}, [1.0, 4.0])
    assert got.digest not in {whole.digest, slice_reference(parse_where("age < 36"), whole).digest}


def test_without_a_slice_the_reference_stays_as_it_is():
    whole = reference()
    assert slice_reference(None, whole) is whole


def test_rows_without_a_slice_are_all_rows():
    rows = [LoggedRow(i, float(i), row, {}) for i, row in enumerate(ROWS)]
    assert slice_rows(None, rows) is rows
    assert [row.id for row in slice_rows(parse_where("age >= 30"), rows)] == [1, 3]


def test_a_column_that_the_schema_lacks_is_named():
    with pytest.raises(UnknownFeature, match="height, weight, which the model's schema doesn't have"):
        check_columns(parse_where("weight < 3 and height > 2 and age < 3"), reference().schema)


def test_a_column_that_is_not_logged_is_named():
    with pytest.raises(UnknownFeature, match=r"age, which logger\.exclude keeps out of the log"):
        check_columns(parse_where("age < 3"), reference().schema, ("age",))


def test_columns_that_the_schema_has_are_fine():
    check_columns(parse_where('age < 3 or country == "FR"'), reference().schema, ("height",))


def test_a_monitors_slice_is_found_by_name():
    monitoring = Monitoring.model_validate(
        {
            "slices": [{"name": "young", "where": "age < 30"}, {"name": "old", "where": "age > 60"}],
            "monitors": [
                {"name": "drift", "type": "Drift", "slice": "old"},
                {"name": "all", "type": "Drift"},
            ],
        }
    )
    got = [find_condition(monitoring, monitor) for monitor in monitoring.monitors]
    assert got == [parse_where("age > 60"), None]


def reference() -> StoredReference:
    return StoredReference(
        revision="wine-1",
        digest="abc",
        bundle_digest="sha256:" + "0" * 64,
        task="Classification",
        schema=Schema.model_validate(
            {
                "inputs": [
                    {"name": "age", "datatype": "FP64", "missing": "Pass"},
                    {"name": "country", "datatype": "BYTES", "missing": "Pass"},
                ],
                "outputs": [{"name": "predict", "datatype": "INT64", "role": "Output"}],
            }
        ),
        columns=COLUMNS,
        outputs={"predict": [0, 1, 2, 3]},
        event_time=[1.0, 2.0, 3.0, 4.0],
    )
