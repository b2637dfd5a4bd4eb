import math
from itertools import pairwise

import pytest
from perennial_bundle.sampling import sample_place
from perennial_observer.ingest.rates import MEMORY_S, Rate, choose_share
from perennial_observer.ingest.shares import PEAK_S, Shares
from perennial_observer.store.rows import DeploymentKey

KEY = DeploymentKey("uid-1", "shop", "wine")


def replay(shares, batches, limit, *, start=0.0):
    """Send (seconds, rows) after one another; return the share of each batch and how many ids got in."""
    now, found, kept = start, [], []
    for number, (pause_s, rows) in enumerate(batches):
        now += pause_s
        share = shares.choose(KEY, rows, limit, now=now)
        shares.count(KEY, rows, now=now)
        found.append(share)
        kept.append(sum(sample_place(f"{start}-{number}-{i}") < share for i in range(rows)))
    return found, kept


def test_without_a_limit_or_within_it_all_rows_are_kept():
    assert choose_share(Rate(1e9, 0.0), None) == 1.0
    shares, _ = replay(Shares(), [(1.0, 90)] * 100, 100)
    assert set(shares) == {1.0}


@pytest.mark.parametrize("pause_s", [0.1, 1.0, 3.0])
def test_of_more_rows_as_many_are_kept_in_a_second_as_the_limit_says(pause_s):
    rows = int(1000 * pause_s)
    _, kept = replay(Shares(), [(pause_s, rows)] * int(90 / pause_s), 200)
    settled = kept[int(30 / pause_s) :]
    got = sum(settled) / len(settled) / pause_s
    # Batches that are rare are measured at their worst, so that rather too few are kept than too many.
    assert 200 * 0.8 < got < 200 * 1.05


def test_the_share_follows_a_burst_smoothly_and_comes_back():
    calm = [(1.0, 100)] * 30
    shares, kept = replay(Shares(), [*calm, *[(1.0, 2000)] * 30, *calm, *calm], 200)
    burst = shares[30:60]
    assert burst == sorted(burst, reverse=True)
    assert sum(kept[30:60]) < 200 * (30 + 3 * MEMORY_S)
    assert shares[60] < 0.15
    steps = [later - earlier for earlier, later in pairwise(shares[60:])]
    assert min(steps) >= 0.0
    assert max(steps) < 0.15
    assert shares[-1] == 1.0


def test_a_batch_that_is_counted_late_counts_in_full_and_makes_no_other_one_old():
    rate = Rate().after(1000, now=100.0).after(500, now=99.0)
    assert rate == Rate(1500 / MEMORY_S, 100.0)
    assert rate.after(0, now=100.0 + MEMORY_S).per_s == pytest.approx(rate.per_s / math.e)


def test_rows_that_were_refused_are_not_counted():
    shares = Shares()
    assert [shares.choose(KEY, 5_000, 100, now=0.0) for _ in range(3)] == [0.2] * 3


def test_a_label_is_waited_for_only_within_the_largest_share_of_the_last_minute_and_what_servers_log():
    shares = Shares()
    shares.note(KEY, "wine-1", 50, now=0.0)
    ids = [f"p{i}" for i in range(500)]
    replay(shares, [(1.0, 1000)] * 30, 200)
    # The minute began with all of them.
    assert {name for name in ids if shares.may_come(KEY, name)} == {i for i in ids if sample_place(i) < 0.5}
    found, _ = replay(shares, [(1.0, 1000)] * int(2 * PEAK_S + 1), 200, start=30.0)
    got = [name for name in ids if shares.may_come(KEY, name)]
    assert got == [name for name in ids if sample_place(name) < max(found[-10:]) * 0.5]
    assert 0 < len(got) < 100
