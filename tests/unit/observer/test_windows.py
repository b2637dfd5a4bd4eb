from perennial_observer.ingest.event_time import compute_watermark
from perennial_observer.monitors.windows.closing import close_window
from perennial_observer.store.reads import Position


def positions(*times: float) -> list[Position]:
    return [Position(time, i) for i, time in enumerate(times)]


def test_a_full_window_closes_at_once():
    assert close_window(positions(1, 2, 3), watermark=3, size=3, max_age_s=60) == 3


def test_a_window_that_is_neither_full_nor_old_stays_open():
    assert close_window(positions(1, 2), watermark=50, size=3, max_age_s=60) is None


def test_an_old_window_closes_without_the_rows_behind_its_deadline():
    assert close_window(positions(0, 59, 60, 61), watermark=61, size=5, max_age_s=60) == 2


def test_rows_of_one_instant_may_fall_into_two_windows():
    assert close_window(positions(5, 5, 5), watermark=5, size=3, max_age_s=60) == 3


def test_no_rows_are_no_window():
    assert close_window([], watermark=1e9, size=3, max_age_s=60) is None


def test_the_watermark_lags_the_latest_event_and_follows_the_clock_only_for_arrival():
    assert compute_watermark(None, 5.0, clock=200.0) is None
    assert compute_watermark(100.0, 5.0, clock=200.0) == 95.0
    assert compute_watermark(100.0, 5.0, clock=200.0, is_arrival=True) == 195.0
    assert compute_watermark(100.0, 5.0, clock=50.0, is_arrival=True) == 95.0


def test_a_row_from_tomorrow_does_not_make_it_tomorrow():
    assert compute_watermark(86_500.0, 5.0, clock=100.0) == 95.0
