"""Counters that restart, vanish and repeat are counted once."""

from perennial.rollout.gate import CounterMark, Counts, accumulate, counters


def test_first_sight_of_a_pod_counts_nothing() -> None:
    _, got = accumulate((), {("a", "e1", "r1"): Counts(100, 5)})
    assert got == {}


def test_increase_is_counted_once() -> None:
    marks, _ = accumulate((), {("a", "e1", "r1"): Counts(100, 5)})
    marks, got = accumulate(marks, {("a", "e1", "r1"): Counts(130, 6)})
    assert got == {"r1": Counts(30, 1)}
    _, again = accumulate(marks, {("a", "e1", "r1"): Counts(130, 6)})
    assert again == {"r1": Counts(0, 0)}


def test_restarted_counters_count_from_zero() -> None:
    marks, _ = accumulate((), {("a", "e1", "r1"): Counts(100, 5)})
    _, got = accumulate(marks, {("a", "e2", "r1"): Counts(40, 2)})
    assert got == {"r1": Counts(40, 2)}


def test_revision_new_on_a_known_pod_counts_from_zero() -> None:
    marks, _ = accumulate((), {("a", "e1", "r1"): Counts(100, 5)})
    _, got = accumulate(marks, {("a", "e1", "r1"): Counts(100, 5), ("a", "e1", "r2"): Counts(9, 1)})
    assert got["r2"] == Counts(9, 1)


def test_returning_pod_counts_only_what_came_meanwhile() -> None:
    marks, _ = accumulate((), {("a", "e1", "r1"): Counts(100, 5), ("b", "e1", "r1"): Counts(7, 0)})
    marks, _ = accumulate(marks, {("b", "e1", "r1"): Counts(8, 0)})
    _, got = accumulate(marks, {("a", "e1", "r1"): Counts(101, 5), ("b", "e1", "r1"): Counts(8, 0)})
    assert got == {"r1": Counts(1, 0)}


def test_late_reading_counts_nothing() -> None:
    marks, _ = accumulate((), {("a", "e1", "r1"): Counts(100, 5)})
    marks, got = accumulate(marks, {("a", "e1", "r1"): Counts(90, 4)})
    assert got == {"r1": Counts(0, 0)}
    assert marks == (CounterMark("a", "e1", "r1", 100, 5),)


def test_error_seen_before_its_request_is_counted_at_the_next_look() -> None:
    marks, _ = accumulate((), {("a", "e1", "r1"): Counts(10, 0)})
    marks, first = accumulate(marks, {("a", "e1", "r1"): Counts(11, 2)})
    _, second = accumulate(marks, {("a", "e1", "r1"): Counts(12, 2)})
    assert (first["r1"], second["r1"]) == (Counts(1, 1), Counts(1, 1))


def test_routers_of_one_revision_add_up() -> None:
    marks, _ = accumulate((), {("a", "e1", "r1"): Counts(), ("b", "e1", "r1"): Counts()})
    _, got = accumulate(marks, {("a", "e1", "r1"): Counts(3, 1), ("b", "e1", "r1"): Counts(4, 0)})
    assert got == {"r1": Counts(7, 1)}


def test_forgotten_pods_are_the_longest_unseen_and_return_uncounted() -> None:
    marks: tuple[CounterMark, ...] = ()
    for i in range(counters.MAX_PODS + 10):
        marks, _ = accumulate(marks, {(f"pod-{i}", "e1", "r1"): Counts(50, 1)})
    assert [mark.pod for mark in marks] == [f"pod-{i}" for i in range(10, counters.MAX_PODS + 10)]
    _, got = accumulate(marks, {("pod-0", "e1", "r1"): Counts(60, 1)})
    assert got == {}


def test_epochs_of_one_pod_are_bounded() -> None:
    marks: tuple[CounterMark, ...] = ()
    for i in range(100):
        marks, _ = accumulate(marks, {("a", f"e{i}", "r1"): Counts(5, 0)})
    assert [mark.epoch for mark in marks] == ["e98", "e99"]


def test_distinct_clients_count_from_the_first_sight() -> None:
    marks, got = accumulate((), {("a", "e1", "r1"): Counts(100, 5)}, distinct=True)
    assert got == {"r1": Counts(100, 5)}
    _, again = accumulate(marks, {("a", "e1", "r1"): Counts(100, 5)}, distinct=True)
    assert again == {"r1": Counts(0, 0)}


def test_distinct_clients_are_counted_once_though_the_router_starts_anew() -> None:
    marks, _ = accumulate((), {("a", "e1", "r1"): Counts(100, 5)}, distinct=True)
    marks, got = accumulate(marks, {("a", "e2", "r1"): Counts(102, 6)}, distinct=True)
    assert got == {"r1": Counts(2, 1)}
    _, again = accumulate(marks, {("a", "e3", "r1"): Counts(102, 6)}, distinct=True)
    assert again == {"r1": Counts(0, 0)}


def test_client_counted_earlier_may_fail_later() -> None:
    marks, _ = accumulate((), {("a", "e1", "r1"): Counts(10, 1)}, distinct=True)
    _, got = accumulate(marks, {("a", "e1", "r1"): Counts(10, 4)}, distinct=True)
    assert got == {"r1": Counts(0, 3)}


def test_no_more_clients_fail_than_were_ever_counted() -> None:
    marks, _ = accumulate((), {("a", "e1", "r1"): Counts(2, 1)}, distinct=True)
    marks, got = accumulate(marks, {("a", "e1", "r1"): Counts(2, 5)}, distinct=True)
    assert got == {"r1": Counts(0, 1)}
