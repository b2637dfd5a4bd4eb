import math

import pytest
from perennial_api.modeldeployment.monitoring import Slice
from perennial_observer.explaining.change_point import find_start
from perennial_observer.explaining.columns import MAX_BINS, OTHER, build_histogram, measure_distance
from perennial_observer.explaining.explain import (
    MAX_COLUMNS,
    MAX_HISTOGRAMS,
    MAX_SENTENCE,
    Estimate,
    Evidence,
    PastWindow,
    explain,
    render_explanation,
)
from perennial_observer.explaining.findings import Effect, Explanation, Movement, SliceShift
from perennial_observer.monitors.alarms.verdicts import Assessment


def breach(**changes) -> Assessment:
    return Assessment(
        breached=True, reason="ThresholdExceeded", message="", samples=100, statistic=0.4, threshold=0.1
    ).model_copy(update=changes)


def rows(**columns) -> list[dict]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize(
    ("statistics", "upwards", "want"),
    [
        ([0.05, 0.06, 0.05, 0.3, 0.31], True, 3),
        ([0.1, 0.1, 0.1, 0.1, 0.5], True, 4),
        ([0.9, 0.91, 0.89, 0.6, 0.61, 0.6], False, 3),
        ([0.9, 0.91, 0.89, 0.6, 0.61, 0.6], True, None),
        ([0.3, 0.31, 0.29, 0.3, 0.3], True, None),
        ([0.2, 0.2, 0.2, 0.2], True, None),
        ([0.1, 0.9], True, None),
        ([0.1, 0.1, math.nan, 0.9], True, None),
        ([], True, None),
    ],
)
def test_the_start_is_where_the_statistic_steps_the_bad_way(statistics, upwards, want):
    assert find_start(statistics, upwards=upwards) == want


def test_a_histogram_has_the_same_bins_before_and_after_and_all_rows_in_them():
    got = build_histogram("sugar", [float(i) for i in range(1_000)], [float(i + 900) for i in range(500)])
    assert len(got.labels) == len(got.reference) == len(got.window) == MAX_BINS
    assert sum(got.reference) == pytest.approx(1.0)
    assert sum(got.window) == pytest.approx(1.0)
    assert got.window[0] == 0.0
    assert got.reference[-1] == 0.0


def test_one_wild_value_does_not_press_all_others_into_one_bin():
    got = build_histogram("sugar", [float(i) for i in range(1_000)], [*(float(i) for i in range(999)), 1e12])
    assert max(got.window) < 0.1


def test_few_distinct_numbers_are_bins_of_their_own():
    got = build_histogram("flag", [0, 0, 0, 1], [1, 1, 1, 0])
    assert (got.labels, got.reference, got.window) == (("0", "1"), (0.75, 0.25), (0.25, 0.75))


def test_categories_beyond_the_bound_are_counted_together():
    got = build_histogram("region", [f"r{i:03}" for i in range(100)], ["r000"] * 50 + [None] * 50)
    assert len(got.labels) == MAX_BINS
    assert got.labels[0] == "r000"
    assert got.labels[-1] == OTHER
    assert sum(got.reference) == pytest.approx(1.0)
    assert (got.window[0], got.window_missing) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("reference", "window"),
    [
        ([], []),
        ([None, None], [None]),
        ([1.0], []),
        ([math.nan, math.inf, 1.0], [2.0]),
        ([5.0] * 30, [5.0] * 30),
        ([True, False], [True]),
        (["a", 1.0], [2.0]),
        ([[1, 2]], [{"a": 1}]),
        ([0.0] * 9_999 + [float(i) for i in range(30)], [0.0] * 100),
    ],
)
def test_odd_samples_are_drawn_and_measured_without_a_word(reference, window):
    got = build_histogram("x", reference, window)
    assert len(got.labels) == len(got.reference) == len(got.window) <= MAX_BINS
    assert all(0 <= share <= 1 for share in (*got.reference, *got.window))
    assert 0.0 <= measure_distance(reference, window) <= 1.0


def test_distances_are_those_of_distributions_of_shares_and_of_missing_values():
    assert measure_distance([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 5.0, 6.0]) == 0.5
    assert measure_distance(["a", "a", "b", "b"], ["a", "b", "b", "b"]) == 0.25
    assert measure_distance([1.0, 2.0], [1.0, None, 2.0, None]) == 0.5
    assert measure_distance([1.0], [1.0]) == 0.0


def test_the_monitors_own_ranking_counts_and_others_are_measured():
    before = rows(a=[1.0, 2.0, 3.0, 4.0], b=[1.0, 2.0, 3.0, 4.0], c=[1.0, 1.0, 1.0, 1.0])
    after = rows(a=[5.0, 6.0, 7.0, 8.0], b=[3.0, 4.0, 5.0, 6.0], c=[1.0, 1.0, 1.0, 1.0])
    evidence = Evidence(columns=("a", "b", "c"), reference=before, window=after)
    got = explain(breach(), evidence)
    assert [(m.name, m.distance) for m in got.columns] == [("a", 1.0), ("b", 0.5)]
    own = explain(breach(features=(("b", 0.3), ("gone", 0.2), ("a", 0.1))), evidence)
    assert [m.name for m in own.columns] == ["b", "a"]
    assert [h.name for h in own.histograms] == ["b", "a"]


def test_pain_11_an_explanation_of_many_columns_is_bounded():
    names = [f"c{i:03}" for i in range(200)]
    evidence = Evidence(
        columns=names, reference=[dict.fromkeys(names, 1.0)] * 5, window=[dict.fromkeys(names, 2.0)] * 5
    )
    got = explain(breach(), evidence)
    assert len(got.columns) == MAX_COLUMNS
    assert len(got.histograms) == MAX_HISTOGRAMS
    assert len(got.model_dump_json()) < 8_000


def test_the_slices_that_moved_most_come_first_and_those_that_did_not_are_left_out():
    slices = (
        Slice(name="young", where="age < 30"),
        Slice(name="french", where='country == "FR"'),
        Slice(name="all", where="age >= 0"),
    )
    evidence = Evidence(
        columns=(),
        reference=(),
        window=(),
        reference_inputs=rows(age=[20, 40, 50, 60], country=["FR", "DE", "DE", "DE"]),
        window_inputs=rows(age=[20, 25, 22, 60], country=["FR", "FR", "DE", "DE"]),
        slices=slices,
    )
    got = explain(breach(), evidence)
    assert got.slices == (
        SliceShift(name="young", reference=0.25, window=0.75),
        SliceShift(name="french", reference=0.25, window=0.5),
    )


def history(*statistics: float) -> tuple[PastWindow, ...]:
    return tuple(PastWindow(100.0 * i, x) for i, x in enumerate(statistics))


def test_the_estimated_effect_sets_now_beside_what_was_before_the_change():
    evidence = Evidence(
        columns=(),
        reference=(),
        window=(),
        history=history(0.05, 0.05, 0.06, 0.4, 0.4),
        estimate=Estimate("auc-est", "roc_auc", history(0.8, 0.82, 0.84, 0.7, 0.6)),
    )
    got = explain(breach(), evidence)
    assert got.started == 300.0
    assert got.effect == Effect(monitor="auc-est", metric="roc_auc", before=0.82, now=0.6)


@pytest.mark.parametrize(
    "estimate",
    [
        None,
        Estimate("auc-est", "roc_auc", ()),
        Estimate("auc-est", "roc_auc", history(0.8, 0.8)),
        Estimate("auc-est", "roc_auc", (PastWindow(300.0, 0.6),)),
    ],
)
def test_without_estimates_on_both_sides_of_the_change_no_effect_is_told(estimate):
    evidence = Evidence(
        columns=(), reference=(), window=(), history=history(0.05, 0.05, 0.06, 0.4, 0.4), estimate=estimate
    )
    assert explain(breach(), evidence).effect is None


def test_a_fall_below_min_is_looked_for_downwards():
    evidence = Evidence(columns=(), reference=(), window=(), history=history(0.9, 0.9, 0.9, 0.6, 0.6))
    assert explain(breach(statistic=0.6, threshold=0.8), evidence).started == 300.0


def test_a_sentence_says_when_what_for_whom_and_at_what_cost():
    got = render_explanation(
        Explanation(
            columns=(Movement(name="sugar", distance=0.41),),
            started=0.0,
            slices=(SliceShift(name="young", reference=0.03, window=0.21),),
            effect=Effect(monitor="e", metric="roc_auc", before=0.82, now=0.74),
        )
    )
    want = (
        "since 1970-01-01T00:00:00Z; moved most: sugar (0.41); slice young went from 3% to 21% of the rows; "
        "estimated roc_auc went from 0.82 to 0.74"
    )
    assert got == want
    assert render_explanation(Explanation()) == ""
    long = Explanation(columns=tuple(Movement(name="x" * 400, distance=0.5) for _ in range(3)))
    assert len(render_explanation(long)) == MAX_SENTENCE
