import numpy as np
import pytest
from perennial_bundle.reference import choose_rows


@pytest.mark.parametrize("n_rows", [1, 4999, 5000])
def test_a_short_table_is_taken_whole(n_rows):
    np.testing.assert_array_equal(choose_rows(n_rows), np.arange(n_rows))


@pytest.mark.parametrize("n_rows", [5001, 12_345, 1_000_000])
def test_a_long_table_gives_runs_of_neighbours_over_its_whole_length(n_rows):
    got = choose_rows(n_rows)
    assert len(got) <= 5000
    assert (got[0], got[-1]) == (0, n_rows - 1)
    assert (np.diff(got) > 0).all()
    assert (np.diff(got) == 1).mean() > 0.99
