"""What takes long is made beside the looks."""

import threading
from concurrent.futures import wait

import pytest
from perennial_observer.monitors.references.beside import AT_ONCE, MOST_WAITING, Beside, Preparing

PATIENCE_S = 60.0


@pytest.fixture
def hasty():
    """Waits for nothing."""
    made = Beside(wait_s=0.0)
    yield made
    made.close()


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


def finish(beside: Beside) -> None:
    assert not wait(list(beside._making.values()), timeout=PATIENCE_S).not_done


def test_what_is_made_in_time_is_there_at_once():
    patient = Beside(wait_s=PATIENCE_S)
    assert patient.make("a", lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        patient.make("b", lambda: 1 / 0)
    patient.close()


def test_what_takes_longer_is_made_once_and_found_later(hasty, gate):
    made = []
    for _ in range(2):
        with pytest.raises(Preparing):
            hasty.make("a", lambda: gate.wait(PATIENCE_S) and made.append(1))
        hasty.end_look()
    gate.set()
    finish(hasty)
    hasty.make("a", lambda: 1 / 0)
    assert made == [1]


def test_a_failure_is_told_to_whoever_asks_and_then_made_anew(hasty, gate):
    def fail():
        gate.wait(PATIENCE_S)
        raise ZeroDivisionError

    with pytest.raises(Preparing):
        hasty.make("a", fail)
    gate.set()
    finish(hasty)
    with pytest.raises(ZeroDivisionError):
        hasty.make("a", lambda: 7)
    gate.clear()
    with pytest.raises(Preparing):
        hasty.make("a", lambda: gate.wait(PATIENCE_S) and 7)
    gate.set()
    finish(hasty)
    assert hasty.make("a", lambda: 1 / 0) == 7


def test_no_more_than_a_bounded_number_waits_and_there_is_room_again(hasty, gate):
    for i in range(MOST_WAITING + 1):
        with pytest.raises(Preparing):
            hasty.make(i, lambda: gate.wait(PATIENCE_S))
    assert list(hasty._making) == list(range(MOST_WAITING))
    gate.set()
    finish(hasty)
    assert hasty.make(0, lambda: None) is True
    gate.clear()
    with pytest.raises(Preparing):
        hasty.make(MOST_WAITING, lambda: gate.wait(PATIENCE_S))
    assert MOST_WAITING in hasty._making


def test_what_nobody_asks_for_any_more_is_not_begun(hasty, gate):
    begun, beginning = [], threading.Semaphore(0)

    def work(i):
        begun.append(i)
        beginning.release()
        return gate.wait(PATIENCE_S)

    for i in range(AT_ONCE + 3):
        with pytest.raises(Preparing):
            hasty.make(i, lambda i=i: work(i))
    for _ in range(AT_ONCE):
        assert beginning.acquire(timeout=PATIENCE_S)
    hasty.end_look()
    with pytest.raises(Preparing):
        hasty.make(AT_ONCE, lambda: None)
    hasty.end_look()
    gate.set()
    finish(hasty)
    assert sorted(begun) == list(range(AT_ONCE + 1))
