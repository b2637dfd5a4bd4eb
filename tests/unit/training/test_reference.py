import numpy as np
from perennial_training.reference import thinning_step

DAY = 86_400.0


def rows_at(per_day, days=30, first_day=0):
    return np.sort(
        np.concatenate([(first_day + d) * DAY + np.linspace(0, DAY - 1, per_day) for d in range(days)])
    )


def test_thinned_reference_keeps_its_density():
    assert thinning_step(rows_at(85), rows_at(900, first_day=40)) == 11


def test_complete_reference_is_not_thinned():
    assert thinning_step(rows_at(40), rows_at(40, first_day=40)) == 1


def test_gaps_between_the_runs_of_a_reference_do_not_count():
    runs = np.concatenate([rows_at(900, days=2, first_day=first) for first in (0, 20, 40)])
    assert thinning_step(runs, rows_at(900, first_day=60)) == 1


def test_sparser_rows_are_all_taken():
    assert thinning_step(rows_at(900), rows_at(10)) == 1


def test_reference_without_times_is_not_thinned():
    assert thinning_step(None, rows_at(10)) == 1
