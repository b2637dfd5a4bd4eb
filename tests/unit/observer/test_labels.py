import pytest
from perennial_bundle import Schema
from perennial_observer.ingest.labels import is_mistyped


def schema(datatype, name="predict"):
    return Schema.model_validate(
        {
            "inputs": [{"name": "x", "datatype": "FP64"}],
            "outputs": [{"name": name, "datatype": datatype, "role": "Output"}],
        }
    )


@pytest.mark.parametrize(
    ("label", "datatypes", "want"),
    [
        ("late", ["FP64"], True),
        ("1", ["INT64"], True),
        (3.5, ["FP64"], False),
        (True, ["INT64"], False),
        (1, ["BYTES"], True),
        ("setosa", ["BYTES"], False),
        (1, ["BYTES", "INT64"], False),
        ("anything", [], False),
    ],
)
def test_a_label_must_be_what_some_revision_answers(label, datatypes, want):
    assert is_mistyped(label, [schema(datatype) for datatype in datatypes]) == want


def test_a_model_without_an_answer_of_its_own_takes_any_label():
    assert not is_mistyped("late", [schema("FP64", name="score")])
