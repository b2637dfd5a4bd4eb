import numpy as np
import pytest
from perennial_training.split import time_gapped_split

DAY = 86_400.0


def split_at(watermark=100 * DAY, **changes):
    arguments = {
        "window_s": 90 * DAY,
        "gap_s": 7 * DAY,
        "test_s": 14 * DAY,
        "label_maturity_s": DAY,
        **changes,
    }
    return time_gapped_split(watermark, **arguments)


def test_worked_example_of_the_docstring_holds():
    got = split_at()
    want = (9 * DAY, 78 * DAY, 85 * DAY, 99 * DAY)
    assert (got.train_from_s, got.train_until_s, got.test_from_s, got.test_until_s) == want


def test_every_training_row_is_older_than_every_test_row_by_the_gap():
    times = np.arange(0, 101, 0.25) * DAY
    split = split_at()
    train, test = times[split.train_mask(times)], times[split.test_mask(times)]
    assert test.min() - train.max() >= 7 * DAY
    assert train.size
    assert test.size


def test_rows_whose_labels_may_still_come_are_left_out():
    times = np.array([98.9, 99.0, 99.5]) * DAY
    assert split_at().test_mask(times).tolist() == [True, False, False]


def test_no_row_both_trains_and_tests_even_without_a_gap():
    times = np.arange(0, 101, 0.25) * DAY
    split = split_at(gap_s=0)
    assert not (split.train_mask(times) & split.test_mask(times)).any()


@pytest.mark.parametrize(
    "changes", [{"window_s": 21 * DAY}, {"test_s": 0}, {"gap_s": -1}, {"label_maturity_s": -1}]
)
def test_durations_that_leave_nothing_to_train_on_are_refused(changes):
    with pytest.raises(ValueError):
        split_at(**changes)
