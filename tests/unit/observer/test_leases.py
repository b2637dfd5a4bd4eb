import pytest
from perennial_observer.store.leases import choose_leases

ALL = {"a", "b", "c", "d", "e"}


@pytest.mark.parametrize(
    ("mine", "free", "replicas", "want"),
    [
        (set(), ALL, 1, (ALL, set())),
        (set(), ALL, 2, ({"a", "b", "c"}, set())),
        (ALL, set(), 2, ({"a", "b", "c"}, {"d", "e"})),
        ({"d", "e"}, {"a"}, 2, ({"a", "d", "e"}, set())),
        ({"d"}, set(), 3, ({"d"}, set())),
        ({"d", "gone"}, set(), 1, ({"d"}, {"gone"})),
    ],
    ids=["alone", "of two", "another came", "one is free", "nothing is free", "a deployment has gone"],
)
def test_an_observer_holds_its_fair_share(mine, free, replicas, want):
    assert choose_leases(ALL, mine, free, replicas) == want


@pytest.mark.parametrize("replicas", [1, 2, 3, 4, 9])
def test_all_observers_together_hold_everything_once(replicas):
    held: list[set[str]] = [set() for _ in range(replicas)]
    for _ in range(2):
        for i in range(replicas):
            taken = set().union(*held)
            held[i], _ = choose_leases(ALL, held[i], ALL - taken, replicas)
    assert sorted(name for names in held for name in names) == sorted(ALL)
