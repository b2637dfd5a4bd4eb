import pytest
from perennial_server.engine.admission import LONGEST_RETRY_S, Admission
from perennial_server.engine.call_times import CallTimes, Measured
from perennial_server.engine.model_call import Outcome
from perennial_server.settings import Settings
from pydantic import ValidationError

from .conftest import build_settings


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


def test_places_are_bounded_in_requests(clock):
    admission = Admission(2, 1000, clock)
    assert [admission.take(1) for _ in range(3)] == [True, True, False]
    admission.give_back(1)
    assert admission.take(1)


def test_places_are_bounded_in_bytes(clock):
    admission = Admission(10, 1000, clock)
    assert [admission.take(600), admission.take(401), admission.take(400)] == [True, False, True]
    admission.give_back(600)
    assert admission.take(600)
    assert (admission.requests, admission.size_bytes) == (2, 1000)


def test_a_place_grows_while_there_is_room_and_always_shrinks(clock):
    admission = Admission(1, 1000, clock)
    admission.take(600)
    assert not admission.resize(600, 1001)
    assert admission.resize(600, 1000)
    assert admission.resize(1000, 10)
    assert (admission.requests, admission.size_bytes) == (1, 10)


def test_a_bound_in_bytes_below_one_body_is_refused():
    with pytest.raises(ValidationError, match="PERENNIAL_MAX_BODY_BYTES"):
        build_settings(max_body_bytes=1001, max_in_flight_bytes=1000)
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert defaults["max_in_flight_bytes"] >= defaults["max_body_bytes"]


def test_the_time_to_come_back_follows_the_measured_rate(clock):
    admission = Admission(100, 1000, clock)
    for _ in range(20):  # one in half a second
        admission.take(1)
        clock.now_s += 0.5
        admission.give_back(1)
    for _ in range(9):
        admission.take(1)
    assert admission.retry_after_s() == 5


def test_an_idle_time_does_not_make_the_server_look_slow(clock):
    admission = Admission(100, 1000, clock)
    admission.take(1)
    clock.now_s += 0.01
    admission.give_back(1)
    clock.now_s += 3600
    for _ in range(50):
        admission.take(1)
    assert admission.retry_after_s() == 1


def test_the_rate_forgets_what_is_long_ago(clock):
    admission = Admission(100, 1000, clock)
    for duration_s in [0.001] * 1000 + [2.0] * 50:
        admission.take(1)
        clock.now_s += duration_s
        admission.give_back(1)
    for _ in range(10):
        admission.take(1)
    assert 15 <= admission.retry_after_s() <= 20


def test_the_time_to_come_back_has_a_least_and_a_most(clock):
    admission = Admission(100, 1000, clock)
    assert admission.retry_after_s() == 1
    admission.take(1)
    admission.take(1)
    clock.now_s += 1000
    admission.give_back(1)
    assert admission.retry_after_s() == LONGEST_RETRY_S


def test_call_times_are_known_by_size_and_estimated_for_others():
    times = CallTimes()
    assert times.estimate_s(1) == float("inf")
    times.add(16, 0.002)
    assert times.estimate_s(31) == 0.002
    assert times.estimate_s(1) == 0.002
    assert times.estimate_s(160) == 0.016
    times.add(1000, 0.004)
    assert times.estimate_s(160) == 0.004


@pytest.mark.parametrize(
    ("shortest_s", "per_row_s", "rows"),
    [(0.001, 1e-6, (2000, 2000)), (0.03, 0.0, (2000, 2000)), (0.0, 0.001, (31, 63)), (0.2, 0.1, (1, 7))],
    ids=["quick", "the same for any number of rows", "in proportion to the rows", "slower than allowed"],
)
def test_calls_get_as_many_rows_as_fit_their_time(shortest_s, per_row_s, rows):
    times = CallTimes()
    got = 1
    for _ in range(50):
        times.add(got, shortest_s + per_row_s * got)
        got = times.rows_within(0.05, 2000)
    assert rows[0] <= got <= rows[1]


def test_one_slow_call_does_not_make_batches_small_for_good():
    times = CallTimes()
    for _ in range(10):
        times.add(1000, 0.002)
    times.add(1, 0.0001)
    times.add(1000, 5.0)
    got = []
    for _ in range(100):
        got.append(times.rows_within(0.05, 1000))
        times.add(got[-1], 0.002 * got[-1] / 1000)
    assert got[0] < 1000
    assert got[-1] == 1000


def test_call_times_follow_slowly():
    times = CallTimes()
    times.add(16, 0.001)
    assert times.estimate_s(64) == 0.004
    times.add(16, 0.101)
    assert times.estimate_s(16) == pytest.approx(0.011)
    assert times.estimate_s(64) == pytest.approx(0.044)


@pytest.mark.parametrize(
    ("duration_s", "cpu_s", "want"),
    [(0.001, 0.001, 0.001), (0.010, 0.001, 0.001), (0.050, 0.0001, 0.050)],
    ids=["undisturbed", "disturbed by others", "waits for something"],
)
def test_a_call_holds_up_the_loop_for_what_it_computes_or_waits(duration_s, cpu_s, want):
    assert Measured(Outcome(), duration_s, cpu_s).busy_s == want
