from perennial_observer.ingest.event_time import Placing, compute_watermark
from perennial_observer.monitors.windows.closing import close_window
from perennial_observer.store.reads import Position
from perennial_observer.store.rows import PredictionRow


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


def place(
    *times: float, by_arrival: bool, latest: float | None, now: float = 1_000.0
) -> tuple[list[float], float | None]:
    rows = [PredictionRow(f"p{i}", 0, "wine-1", time, "{}", "{}") for i, time in enumerate(times)]
    got = Placing(30.0, by_arrival, by_arrival, lambda: now).place(rows, latest)
    return [row.event_time for row in got.rows], got.late_before


def test_rows_without_a_time_of_their_own_are_taken_in_before_windows_can_close_past_them():
    # Sent after an outage: no window waits for them any more, whose watermark is at 970.
    assert place(100.0, 400.0, 999.0, by_arrival=True, latest=990.0) == ([985.0, 985.0, 999.0], 970.0)
    # A clock that was put back doesn't put the stream back.
    assert place(100.0, by_arrival=True, latest=2_000.0) == ([1_985.0], 1_970.0)
    assert place(100.0, by_arrival=True, latest=None) == ([985.0], None)


def test_rows_with_an_event_time_keep_it_and_are_late_behind_the_watermark():
    assert place(100.0, 969.0, by_arrival=False, latest=990.0) == ([100.0, 969.0], 960.0)


def test_a_row_from_tomorrow_does_not_make_it_tomorrow():
    assert compute_watermark(86_500.0, 5.0, clock=100.0) == 95.0
