import numpy as np
import pytest
from perennial_training.errors import InvalidData
from perennial_training.labels import class_index, convert_labels


@pytest.mark.parametrize("values", [[1, 0], [1.0, 0.0], ["1", "0"], [True, False], ["1.0", "false"]])
def test_integer_classes_are_recognised_however_json_spells_them(values):
    got = convert_labels(values, "Classification", (0, 1))
    assert got.tolist() == [1, 0]
    assert got.dtype.kind == "i"


def test_string_classes_stay_strings():
    assert convert_labels(["dry", "sweet"], "Classification", ("dry", "sweet")).tolist() == ["dry", "sweet"]


def test_boolean_classes_are_recognised():
    assert convert_labels([1, "false"], "Classification", (False, True)).tolist() == [True, False]


def test_a_new_class_of_the_same_type_is_kept():
    assert convert_labels(["rosé"], "Classification", ("dry", "sweet")).tolist() == ["rosé"]
    assert convert_labels([2.0], "Classification", (0, 1)).tolist() == [2]


def test_a_label_of_another_type_is_refused():
    with pytest.raises(InvalidData, match="late"):
        convert_labels(["late"], "Classification", (0, 1))


@pytest.mark.parametrize("bad", ["many", float("nan"), None])
def test_a_regression_takes_finite_numbers_only(bad):
    assert convert_labels([1, "2.5"], "Regression", None).tolist() == [1.0, 2.5]
    with pytest.raises(InvalidData):
        convert_labels([bad], "Regression", None)


def test_class_index_numbers_new_classes_after_the_known_ones():
    assert class_index(np.array(["b", "z", "a", "c"]), ("a", "b")).tolist() == [1, 3, 0, 2]
