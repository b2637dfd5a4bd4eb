"""What is kept in memory, within a bound of bytes, and how it is reckoned and packed."""

import gc
import weakref

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import Outlier
from perennial_bundle.oddness import Neighbours
from perennial_observer.monitors.references.kept import Kept, reckon_bytes
from perennial_observer.monitors.references.packing import pack_column, pack_reference
from sklearn.ensemble import IsolationForest

from .drift_streams import NATIVE_KS, logged, prepare, settings, stored

MIB = 1 << 20


def test_the_one_used_longest_ago_goes_first():
    kept = Kept(10)
    for name in ("a", "b", "c"):
        kept.put(name, name.upper(), 3)
    assert kept.get("a") == "A"
    kept.put("d", "D", 4)
    assert (list(kept), kept.size_bytes) == (["c", "a", "d"], 10)
    assert kept.get("b") is None


def test_what_has_grown_makes_others_go():
    kept = Kept(10)
    kept.put("a", "A", 3)
    kept.put("b", "B", 3)
    kept.put("b", "B", 9)
    assert (list(kept), kept.size_bytes) == (["b"], 9)


def test_one_that_alone_is_larger_is_kept_beside_the_others_until_another_such_is_used():
    kept = Kept(10)
    for name, size in (("a", 4), ("b", 5), ("large", 11)):
        kept.put(name, name.upper(), size)
    assert (list(kept), kept.size_bytes) == (["a", "b", "large"], 20)
    assert (kept.get("large"), kept.get("a")) == ("LARGE", "A")
    kept.put("larger", "LARGER", 12)
    assert (list(kept), kept.size_bytes) == (["b", "a", "larger"], 21)
    kept.put("larger", "LARGER", 1)
    assert (list(kept), kept.size_bytes) == (["b", "a", "larger"], 10)


def test_what_is_larger_by_far_is_not_kept_and_costs_the_others_nothing():
    kept = Kept(10)
    for name, size in (("a", 4), ("large", 40), ("huge", 41)):
        kept.put(name, name.upper(), size)
    assert (list(kept), kept.size_bytes) == (["a", "large"], 44)
    assert Kept(1 << 30).largest_bytes == (1 << 30) + (64 << 20)
    kept.put("large", "LARGE", 41)
    assert (list(kept), kept.size_bytes) == (["a"], 4)


def test_what_is_not_wanted_frees_its_room():
    kept = Kept(10)
    kept.put("a", "A", 3)
    kept.put("b", "B", 4)
    kept.put("large", "LARGE", 11)
    kept.keep_only(lambda key: key == "b")
    assert (list(kept), kept.size_bytes) == (["b"], 4)


def test_each_array_is_reckoned_once_with_all_its_memory():
    array = np.zeros(MIB // 8)
    got = reckon_bytes({"a": array, "view": array[:10], "again": [array]})
    assert MIB <= got < MIB + 2_000
    assert reckon_bytes({"a": array}, shared=(array,)) < 2_000


def test_what_scikit_learn_has_compiled_is_reckoned_with_its_nodes():
    rows = np.random.default_rng(0).normal(size=(2_000, 5))
    fitted = Neighbours()
    fitted.fit(rows)
    assert reckon_bytes(fitted) > rows.nbytes


def test_each_tree_of_a_forest_is_reckoned():
    rows = np.random.default_rng(0).normal(size=(500, 3))
    fitted = IsolationForest(n_estimators=50, random_state=0).fit(rows)
    nodes = sum(tree.tree_.__getstate__()["nodes"].nbytes for tree in fitted.estimators_)
    assert nodes < reckon_bytes(fitted) < 2 * nodes


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0, None, -0.5],
        [1, 2.0, None, 3],
        [2**60, 1],
        ["a", None, "a"],
        [True, False, None],
        [1.0, "a"],
        [None, None],
        [[0.1, 0.9], None],
    ],
)
def test_packed_values_are_read_as_they_were(values):
    packed = pack_column(values)
    got = [list(packed), [packed[i] for i in range(len(packed))], list(packed[::2]), packed.count(None)]
    assert got == [values, values, values[::2], values.count(None)]
    assert [type(value) for value in packed] == [type(value) for value in values]


def test_a_packed_reference_takes_little_more_than_its_numbers():
    values = np.random.default_rng(0).normal(size=(5_000, 20))
    reference = stored(values)
    assert reckon_bytes(reference) > 3 * values.nbytes
    assert reckon_bytes(pack_reference(reference)) < 1.1 * values.nbytes


def test_a_fitted_drift_monitor_takes_one_sorted_copy_whatever_the_windows_sizes():
    values = np.random.default_rng(0).normal(size=(2_000, 20))
    prepared = prepare(stored(values))
    monitor = prepared.drift(NATIVE_KS, of_outputs=False)
    for n in (100, 150, 250):
        monitor.assess(logged(values[:n]), settings())
    assert prepared.size_bytes < 2.5 * values.nbytes


def test_a_reference_that_goes_frees_its_memory_at_once():
    """A circle of references would keep it until a collection, which hardly ever comes for what is old."""
    values = np.random.default_rng(0).normal(size=(500, 3))
    prepared = prepare(stored(values))
    prepared.drift(NATIVE_KS, of_outputs=False).assess(logged(values[:100]), settings())
    prepared.outliers(Outlier(detector="Mahalanobis")).flag([{"x0": 0.0, "x1": 0.0, "x2": 0.0}])
    gone = weakref.ref(prepared)
    gc.disable()
    try:
        del prepared
        assert gone() is None
    finally:
        gc.enable()
