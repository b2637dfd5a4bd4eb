from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import DataQuality, Monitor, Monitoring
from perennial_api.monitorreport import MonitorState, MonitorVerdict
from perennial_bundle import Schema
from perennial_observer.monitors.alarms.false_alarms import largest_count
from perennial_observer.monitors.alarms.rule import AlarmState
from perennial_observer.monitors.alarms.silence import show_silence, step_silence
from perennial_observer.monitors.alarms.verdicts import Assessment, Memory, build_verdict
from perennial_observer.monitors.quality.assess import assess_quality
from perennial_observer.monitors.quality.chance import fewest_rows, upper_share
from perennial_observer.monitors.quality.volume import Volume, find_stretch
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import LoggedRow
from scipy.stats import binom, poisson

N = 400
ROWS_APART_S = 60.0
MONITORING = Monitoring.model_validate(
    {
        "defaults": {"window": {"size": N, "maxAge": "24h", "minSamples": 100}},
        "monitors": [{"name": "quality", "type": "DataQuality"}],
    }
)
SETTINGS = MONITORING.settings_for(MONITORING.monitors[0])
INPUTS: tuple[dict[str, Any], ...] = (
    {"name": "sugar", "datatype": "FP64", "missing": "Pass", "minimum": 0.0, "maximum": 10.0},
    {"name": "acidity", "datatype": "FP64", "missing": "Pass"},
    {"name": "year", "datatype": "INT64", "missing": "Pass", "minimum": 1990, "maximum": 2026},
    {"name": "region", "datatype": "BYTES", "missing": "Pass", "categories": ["Alsace", "Rioja"]},
    {"name": "grape", "datatype": "BYTES", "missing": "Pass"},
    {"name": "organic", "datatype": "BOOL", "missing": "Pass"},
)


def columns(n: int, seed: int = 1) -> dict[str, list[Any]]:
    random = np.random.default_rng(seed)
    return {
        "sugar": random.uniform(0.0, 10.0, n).tolist(),
        "acidity": np.clip(random.normal(size=n), -1.0, 1.0).tolist(),
        "year": random.integers(1990, 2027, n).tolist(),
        "region": random.choice(["Alsace", "Rioja"], n).tolist(),
        "grape": random.choice(["Riesling", "Tempranillo"], n).tolist(),
        "organic": (random.random(n) < 0.3).tolist(),
    }


def reference(
    n: int = 5_000, inputs: Sequence[Mapping[str, Any]] = INPUTS, **given: list[Any]
) -> StoredReference:
    return StoredReference(
        revision="wine-1",
        digest="abc",
        bundle_digest="sha256:" + "0" * 64,
        task="Classification",
        schema=Schema.model_validate(
            {
                "inputs": list(inputs),
                "outputs": [{"name": "predict", "datatype": "INT64", "role": "Output"}],
            }
        ),
        columns={**columns(n, seed=7), **given},
        outputs={"predict": [1] * n},
        event_time=None,
    )


REFERENCE = reference()


def spoil(found: dict[str, list[Any]], name: str, count: int, value: Any) -> dict[str, list[Any]]:
    return {**found, name: [value] * count + found[name][count:]}


def rows_of(found: Mapping[str, Sequence[Any]]) -> list[LoggedRow]:
    return [
        LoggedRow(i, i * ROWS_APART_S, dict(zip(found, row, strict=True)), {})
        for i, row in enumerate(zip(*found.values(), strict=True))
    ]


def judge(
    found: Mapping[str, Sequence[Any]], spec: Mapping[str, Any] | None = None, **given: Any
) -> Assessment:
    expected = given.pop("reference", REFERENCE)
    return assess_quality(
        rows_of(found), expected, DataQuality.model_validate(dict(spec or {})), SETTINGS, **given
    )


def test_sound_rows_are_within_limits_and_say_how_many():
    got = judge(columns(N))
    assert (got.breached, got.reason, got.samples, got.threshold) == (False, "WithinLimits", N, 1.0)
    assert got.statistic < 1.0


@pytest.mark.parametrize(
    ("name", "value", "reason", "says"),
    [
        ("sugar", None, "MissingValues", "sugar: 80 of 400 values are missing (20.0%, 5.0% allowed"),
        ("sugar", 11.0, "OutOfRange", "sugar: 80 of 400 values are out of range (20.0%, 1.0% allowed)"),
        ("acidity", 99.0, "OutOfRange", "acidity: 80 of 400 values are out of range"),
        ("acidity", "high", "WrongType", "acidity: 80 of 400 values are of another type"),
        ("acidity", float("inf"), "WrongType", "acidity: 80 of 400 values are of another type"),
        ("year", 2020.5, "WrongType", "year: 80 of 400 values are of another type"),
        ("year", 1800, "OutOfRange", "year: 80 of 400 values are out of range"),
        ("region", "Mosel", "UnseenCategories", "region: 80 of 400 values are categories never seen"),
        ("grape", "Merlot", "UnseenCategories", "grape: 80 of 400 values are categories never seen"),
        ("grape", 3, "WrongType", "grape: 80 of 400 values are of another type"),
        ("organic", 0.5, "WrongType", "organic: 80 of 400 values are of another type"),
    ],
)
def test_what_is_wrong_is_named_with_its_feature_and_how_much(name, value, reason, says):
    got = judge(spoil(columns(N), name, 80, value))
    assert (got.breached, got.reason, got.features[0][0]) == (True, reason, name)
    assert says in got.message
    assert got.statistic == got.features[0][1] > 1.0


def test_a_column_that_never_comes_is_missing():
    found = {name: values for name, values in columns(N).items() if name != "grape"}
    got = judge(found)
    assert (got.reason, got.features[0][0]) == ("MissingValues", "grape")


def test_a_column_that_is_not_logged_is_not_missing():
    found = {name: values for name, values in columns(N).items() if name != "grape"}
    assert judge(found, exclude=("grape",)).breached is False


def test_features_are_ranked_by_how_far_they_are_beyond_their_limits():
    found = spoil(spoil(columns(N), "sugar", 60, None), "region", 300, "Mosel")
    got = judge(found)
    assert [name for name, _ in got.features] == ["region", "sugar"]
    assert got.message.index("region") < got.message.index("sugar")


def test_two_of_four_hundred_are_chance_where_one_in_a_hundred_is_allowed():
    # 2 % of a hundred rows is twice what is allowed, and what chance gives in every fourth window.
    found = spoil(columns(100), "region", 2, "Mosel")
    got = judge(found, {"maxOdd": 0.01})
    assert (got.breached, got.features[0][0]) == (False, "region")
    assert judge(spoil(columns(N), "region", 30, "Mosel"), {"maxOdd": 0.01}).breached is True


def test_where_nothing_is_allowed_one_is_too_many():
    got = judge(spoil(columns(N), "region", 1, "Mosel"), {"maxOdd": 0.0})
    assert (got.breached, got.statistic) == (True, 2.0)


def test_what_is_missing_in_the_reference_may_be_missing():
    lacking = reference(sugar=[None] * 2_000 + columns(5_000, seed=7)["sugar"][2_000:])
    found = spoil(columns(N), "sugar", 170, None)
    assert judge(found, reference=lacking).breached is False
    assert judge(found).breached is True


def test_a_small_reference_that_lacks_nothing_is_no_promise():
    found = spoil(columns(N), "sugar", 20, None)
    assert judge(found, {"maxMissing": 0.0}, reference=reference(20)).breached is False
    assert judge(found, {"maxMissing": 0.0}).breached is True


def test_a_sample_of_rare_categories_does_not_hold_them_all():
    names = [f"estate {i}" for i in range(4_000)]
    random = np.random.default_rng(3)
    sample = reference(grape=random.choice(names, 5_000).tolist())
    found = {**columns(N), "grape": random.choice(names, N).tolist()}
    got = judge(found, reference=sample)
    assert got.breached is False
    strange = {**found, "grape": [f"garage {i}" for i in range(N)]}
    assert judge(strange, reference=sample).reason == "UnseenCategories"


def test_a_range_read_off_a_sample_leaves_room_for_the_next_value():
    # The next value is beyond the extremes of 20 others once in ten times.
    small = reference(20, acidity=np.random.default_rng(5).normal(size=20).tolist())
    alarms = sum(
        bool(judge(columns(N, seed), {"maxOdd": 0.01}, reference=small).breached) for seed in range(20)
    )
    assert alarms == 0


def test_a_single_precision_value_equals_its_bound():
    single = float(np.float32(0.1))
    inputs = [{"name": "x", "datatype": "FP32", "minimum": single, "maximum": 1.0}]
    assert judge({"x": [0.1] * N}, reference=reference(1, inputs, x=[0.5])).breached is False
    assert judge({"x": [0.05] * N}, reference=reference(1, inputs, x=[0.5])).breached is True


@pytest.mark.parametrize(
    ("spec", "name", "value"),
    [({"range": "Ignore"}, "sugar", 99.0), ({"unseenCategories": "Ignore"}, "region", "Mosel")],
)
def test_what_is_ignored_is_no_breach(spec, name, value):
    assert judge(spoil(columns(N), name, N, value), spec).breached is False


def test_rows_that_do_not_fit_are_counted_beside_those_that_do():
    got = judge(columns(N), rejected={"UnknownColumn": 90, "WrongType": 10})
    assert (got.breached, got.reason) == (True, "RowsRejected")
    assert (
        "100 of 500 rows don't fit the schema, most often UnknownColumn (20.0%, 1.0% allowed)" in got.message
    )
    assert judge(columns(N), rejected={"WrongType": 2}).breached is False


def test_a_window_of_few_rows_is_judged_by_the_many_that_did_not_fit():
    assert judge(columns(20), rejected={"UnknownColumn": 300}).reason == "RowsRejected"
    got = judge(columns(20), rejected={"UnknownColumn": 3})
    assert (got.breached, got.reason) == (None, "TooFewSamples")


def test_too_few_rows_an_hour_are_a_breach_though_they_are_too_few_to_judge():
    got = judge(columns(20), {"minPerHour": 10}, volume=Volume(20, 24.0))
    assert (got.breached, got.reason) == (True, "LowVolume")
    assert "20 rows in 24 h, minPerHour is 10" in got.message


def test_a_full_window_tells_of_the_time_since_the_row_before_it_and_another_of_all_of_max_age():
    full, few = rows_of(columns(N)), rows_of(columns(20))
    last = (N - 1) * ROWS_APART_S
    assert find_stretch(full, SETTINGS.window, before=-7_200.0) == (-7_200.0, last)
    for rows, before, end in ((full, None, last), (few, -7_200.0, 86_400.0)):
        start, got = find_stretch(rows, SETTINGS.window, before=before)
        assert (start < rows[0].event_time, got) == (True, end)
        assert start == pytest.approx(rows[0].event_time)


def test_as_many_rows_as_are_normal_are_no_breach_and_half_of_them_are():
    hours = N * ROWS_APART_S / 3_600.0
    assert judge(columns(N), {"minPerHour": 60}, volume=Volume(N, hours)).breached is False
    assert judge(columns(N), {"minPerHour": 120}, volume=Volume(N, hours)).reason == "LowVolume"


def test_an_empty_slice_is_too_few_samples():
    got = assess_quality([], REFERENCE, DataQuality(), SETTINGS)
    assert (got.breached, got.reason, got.samples) == (None, "TooFewSamples", 0)


def test_a_slice_without_reference_rows_is_judged_by_the_schema():
    empty = reference(0)
    assert judge(columns(N), reference=empty).breached is False
    assert judge(spoil(columns(N), "sugar", 80, 11.0), reference=empty).reason == "OutOfRange"


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_false_breaches_stay_within_what_was_asked(share):
    # Values that are missing exactly as often as allowed; a window of 400 minutes, a false alarm in 30 days by 2 of 3.
    random = np.random.default_rng(11)
    breaches = 0
    for _ in range(80):
        found = columns(N)
        for name in found:
            lost = random.random(N) < share
            found[name] = [None if gone else x for x, gone in zip(found[name], lost, strict=True)]
        breaches += bool(judge(found, {"maxMissing": share, "maxOdd": share}).breached)
    # The windows' probability is 0.07; six features at the allowed share without the bound breach in all windows.
    assert breaches <= 0.07 * 80


@pytest.mark.parametrize(("n", "share", "p"), [(200, 0.01, 0.001), (1_000, 0.05, 1e-5), (10, 0.5, 0.01)])
def test_the_largest_count_is_the_first_whose_excess_is_rare_enough(n, share, p):
    got = largest_count(n, share, p)
    assert binom.sf(got, n, share) <= p < binom.sf(got - 1, n, share)


@pytest.mark.parametrize("p", [0.05, 1e-4])
def test_fewer_than_the_fewest_rows_are_rare_enough(p):
    got = fewest_rows(100.0, p)
    assert poisson.cdf(got - 1, 100.0) < p <= poisson.cdf(got, 100.0)


def test_the_bounds_of_shares_hold_at_both_ends():
    assert [largest_count(10, 0.0, 0.01), largest_count(10, 1.0, 0.01), fewest_rows(0.0, 0.01)] == [0, 10, 0]
    assert [upper_share(0, 0), upper_share(5, 5)] == [0.0, 1.0]


# Silence

MONITOR = Monitor.model_validate({"name": "quality", "type": "DataQuality"})
CALM = Memory(
    revision="wine-1", spec_digest="d", state=MonitorState.OK, reason="WithinLimits", last_transition=5.0
)


def tick(memory: Memory, now: float, arrival: float) -> tuple[Memory, MonitorVerdict]:
    memory = step_silence(memory, latest_arrival=arrival, max_silence_s=600.0, now=now)
    return memory, show_silence(build_verdict(MONITOR, memory), memory, "quality/uid/wine-1", "10m")


def test_silence_is_an_alarm_by_the_clock_and_ends_with_the_next_row():
    memory, verdict = tick(CALM, now=1_600.0, arrival=1_000.0)
    assert (memory, verdict.state) == (CALM, MonitorState.OK)
    silent, verdict = tick(memory, now=1_601.0, arrival=1_000.0)
    assert (verdict.state, verdict.reason) == (MonitorState.ALARM, "Silent")
    assert verdict.message == "no row that fits has come since 1970-01-01T00:16:40Z, maxSilence is 10m"
    again, verdict = tick(silent, now=1_700.0, arrival=1_699.0)
    assert (verdict.state, verdict.reason, verdict.breach_id) == (MonitorState.OK, "WithinLimits", None)
    assert (again.last_transition, again.silent_since) == (1_700.0, None)


def test_a_silence_is_one_episode_also_for_one_who_has_forgotten_it():
    memory, first = tick(CALM, now=2_000.0, arrival=1_000.0)
    same, later = tick(memory, now=9_000.0, arrival=1_000.0)
    assert same is memory
    _, forgotten = tick(CALM, now=9_000.0, arrival=1_000.0)
    _, another = tick(CALM, now=9_000.0, arrival=1_001.0)
    assert first.breach_id == later.breach_id == forgotten.breach_id != another.breach_id


def test_a_silence_during_an_alarm_keeps_that_alarms_name():
    alarm = CALM.model_copy(
        update={"state": MonitorState.ALARM, "alarm": AlarmState(breach_id="quality-1"), "message": "bad"}
    )
    memory, verdict = tick(alarm, now=2_000.0, arrival=1_000.0)
    assert (verdict.breach_id, verdict.reason) == ("quality-1", "WithinLimits")
    assert memory.last_transition == alarm.last_transition
    assert verdict.message.startswith("no row that fits has come since")
    assert verdict.message.endswith("; bad")


def test_a_clock_that_was_set_back_is_no_silence():
    memory, verdict = tick(CALM, now=500.0, arrival=1_000.0)
    assert (memory, verdict.state) == (CALM, MonitorState.OK)
