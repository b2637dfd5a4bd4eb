import numpy as np
import pytest
from perennial_bundle import Rows, join


def test_rows_of_one_layout_join_and_cut_into_what_they_were():
    parts = [
        Rows(1, {"x": [1.0], "c": np.array(["a"], dtype=object)}, np.array([[1.0, 2.0]])),
        Rows(2, {"c": ["b", None], "x": [2.0, None]}, np.array([[3.0, 4.0], [5.0, 6.0]])),
    ]
    assert parts[0].layout() == parts[1].layout()
    got = join(parts)
    assert got.n == 3
    assert got.columns == {"x": [1.0, 2.0, None], "c": ["a", "b", None]}
    cut = got.cut(1, 3)
    assert (cut.n, cut.columns) == (2, {"x": [2.0, None], "c": ["b", None]})
    assert cut.matrix is not None
    assert cut.matrix.tolist() == [[3.0, 4.0], [5.0, 6.0]]


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_joined_matrix_lies_in_memory_as_it_is_wanted(order):
    got = join(
        [Rows(1, {}, np.array([[1.0, 2.0]])), Rows(2, {}, np.array([[3.0, 4.0], [5.0, 6.0]]))], order=order
    )
    assert got.matrix is not None
    assert got.matrix.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert got.matrix.flags[f"{order}_CONTIGUOUS"]


def test_rows_of_other_columns_or_another_width_have_another_layout():
    layouts = {
        Rows(1, {"x": [1.0]}).layout(),
        Rows(1, {"y": [1.0]}).layout(),
        Rows(1, {}, np.zeros((1, 2))).layout(),
        Rows(1, {}, np.zeros((1, 3))).layout(),
        Rows(1, {}, np.zeros((1, 2), dtype=np.float32)).layout(),
    }
    assert len(layouts) == 5


def test_rows_are_checked_as_their_columns_are(saved, request_columns):
    rows = Rows(len(next(iter(request_columns.values()))), request_columns)
    assert saved.schema.check(rows).frame.equals(saved.schema.validate(request_columns))
