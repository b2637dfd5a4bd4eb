"""How long a deployment is left alone."""

import pytest
from perennial_observer.monitors.looks.rest import Rest


def test_without_anything_to_wait_for_it_rests_until_a_row_comes():
    assert not Rest().is_over(watermark=1e12, now=1e12)


def test_the_earliest_time_by_the_clock_ends_it():
    rest = Rest()
    rest.end_by(50.0)
    rest.end_by(70.0)
    got = [rest.is_over(watermark=None, now=now) for now in (49.0, 50.0, 50.1)]
    assert got == [False, True, True]


def test_the_first_of_several_windows_ends_it():
    rest = Rest()
    rest.end_with_window(100.0, 0.0)
    rest.end_with_window(20.0, 60.0)
    got = [rest.is_over(watermark=watermark, now=0.0) for watermark in (None, 79.0, 80.0, 100.0)]
    assert got == [False, False, True, True]


@pytest.mark.parametrize("tenths", range(1, 200, 7))
def test_a_window_that_is_closed_by_a_hair_is_not_put_off_by_rounding(tenths):
    watermark, maturity_s = 1_000.0 + tenths / 10, 0.1 * tenths
    rest = Rest()
    rest.end_with_window(watermark - maturity_s, maturity_s)
    assert rest.is_over(watermark=watermark, now=0.0)


def test_what_failed_in_passing_is_looked_at_again_at_once():
    rest = Rest()
    rest.deny()
    assert rest.is_over(watermark=None, now=0.0)
