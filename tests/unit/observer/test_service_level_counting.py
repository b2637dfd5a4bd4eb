"""Requests that are each counted once, whatever the routers' counters do."""

import pytest
from perennial_observer.service_level.buckets import HOURS, MINUTES, spread
from perennial_observer.service_level.counting import (
    MAX_MISSING,
    MAX_PODS,
    Mark,
    News,
    RouterReading,
    Tally,
    count,
)


def reading(pod: str, epoch: str = "e1", **requests: int) -> RouterReading:
    return RouterReading(pod, epoch, {source: Tally(requests=n) for source, n in requests.items()})


def run(*looks: tuple[RouterReading, ...]) -> list[int]:
    """Take looks 15 s apart; return how many requests each found."""
    marks: dict[str, Mark] = {}
    found = []
    for place, look in enumerate(looks):
        marks, news = count(marks, look, now=15.0 * place)
        found.append(sum(one.tally.requests for one in news))
    return found


def test_what_a_router_counted_before_the_first_look_is_left_out():
    assert run((reading("a", wine=1000),), (reading("a", wine=1040),)) == [0, 40]


def test_all_revisions_and_all_routers_are_counted():
    before = (reading("a", old=10, new=0), reading("b", old=20))
    after = (reading("a", old=13, new=5), reading("b", old=27))
    assert run(before, after) == [0, 3 + 5 + 7]


def test_a_revision_that_is_new_to_a_known_router_counts_in_full():
    assert run((reading("a", old=10),), (reading("a", old=10, new=4),)) == [0, 4]


def test_a_deployment_without_any_traffic_yet_loses_none_of_its_first():
    assert run((reading("a"),), (reading("a", wine=3),)) == [0, 3]


def test_counters_that_restart_count_in_full():
    looks = (reading("a", wine=100),), (reading("a", "e2", wine=7),), (reading("a", "e2", wine=9),)
    assert run(*looks) == [0, 7, 2]


def test_a_source_that_an_answer_lacks_does_not_count_again():
    looks = (reading("a", wine=100),), (reading("a"),), (reading("a", wine=120),)
    assert run(*looks) == [0, 0, 20]


def test_a_source_that_was_missing_and_has_started_anew_counts_in_full():
    looks = (reading("a", wine=100),), (reading("a"),), (reading("a", wine=20),)
    assert run(*looks) == [0, 0, 20]


def test_a_source_that_was_missing_counts_in_full_in_another_epoch():
    looks = (reading("a", wine=100),), (reading("a"),), (reading("a", "e2"),), (reading("a", "e2", wine=120),)
    assert run(*looks) == [0, 0, 0, 120]


def test_missing_sources_are_remembered_up_to_a_bound():
    marks: dict[str, Mark] = {}
    for number in range(MAX_MISSING + 5):
        marks, _ = count(marks, (reading("a", **{f"wine-{number}": 1}),), now=float(number))
    assert len(marks["a"].counters) == MAX_MISSING + 1
    assert "wine-0" not in marks["a"].counters


def test_a_counter_below_its_mark_has_started_anew_while_others_went_on():
    before = RouterReading("a", "e1", {"wine": Tally(requests=100, failed=5, slow=3)})
    after = RouterReading("a", "e1", {"wine": Tally(requests=20, failed=1, slow=4)})
    marks, _ = count({}, (before,), now=0.0)
    _, news = count(marks, (after,), now=15.0)
    assert [one.tally for one in news] == [Tally(requests=20, failed=1, slow=1)]


def test_a_router_that_is_scaled_in_takes_nothing_back():
    looks = (reading("a", wine=10), reading("b", wine=50)), (reading("a", wine=12),)
    assert run(*looks) == [0, 2]


def test_a_router_that_is_scaled_out_counts_from_its_first_answer():
    looks = (
        (reading("a", wine=10),),
        (reading("a", wine=10), reading("b", wine=6)),
        (reading("a", wine=10), reading("b", wine=9)),
    )
    assert run(*looks) == [0, 0, 3]


def test_a_missed_look_is_made_up_for():
    marks, _ = count({}, (reading("a", wine=10),), now=0.0)
    marks, nothing = count(marks, (), now=15.0)
    _, news = count(marks, (reading("a", wine=25),), now=30.0)
    assert nothing == ()
    assert news == (News(since=0.0, tally=Tally(requests=15)),)


def test_routers_that_are_gone_are_remembered_up_to_a_bound():
    marks: dict[str, Mark] = {}
    for number in range(MAX_PODS + 5):
        marks, _ = count(marks, (reading(f"pod-{number}", wine=1),), now=float(number))
    assert len(marks) == MAX_PODS + 1
    assert f"pod-{MAX_PODS + 4}" in marks
    assert "pod-0" not in marks


@pytest.mark.parametrize(
    ("since", "now", "want"),
    [
        (100.0, 110.0, {60: 30}),
        (110.0, 130.0, {60: 15, 120: 15}),
        (60.0, 360.0, {60: 6, 120: 6, 180: 6, 240: 6, 300: 6}),
        (70.0, 70.0, {60: 30}),
        (90.0, 70.0, {60: 30}),
    ],
)
def test_counts_are_spread_evenly_since_the_last_answer(since, now, want):
    got = dict(spread(News(since, Tally(requests=30)), MINUTES, now=now))
    assert {start: tally.requests for start, tally in got.items()} == want


def test_no_request_is_lost_or_made_up_by_spreading():
    got = list(spread(News(5.0, Tally(requests=1001, failed=7, slow=13)), MINUTES, now=5000.0))
    assert sum((tally for _, tally in got), Tally()) == Tally(requests=1001, failed=7, slow=13)


def test_what_happened_before_the_kept_buckets_is_left_out_of_them():
    twelve_hours = News(0.0, Tally(requests=12_000))
    got = [tally.requests for _, tally in spread(twelve_hours, MINUTES, now=12 * 3600.0)]
    assert (len(got), sum(got)) == (360, 6000)
    assert sum(tally.requests for _, tally in spread(twelve_hours, HOURS, now=12 * 3600.0)) == 12_000
