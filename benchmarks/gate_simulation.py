"""Thousands of seeded rollouts seen by the gate, and by what others do, all at once.

The times of the looks come from the gate itself; its arithmetic is repeated here on arrays, one row per rollout, and
`tests/property/operator/test_rollout_simulation.py` proves that both give the same on random rollouts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from perennial.rollout.gate import SIGNIFICANCE, next_look_at
from perennial.rollout.gate.breaker import BREAKER_REQUESTS, BREAKER_SHARE, BREAKER_TIMES
from perennial.rollout.gate.eprocess import ALTERNATIVES
from perennial_api.modeldeployment.analysis import Analysis
from perennial_api.modeldeployment.gate_status import Gate

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WEIGHTS = (0.05, 0.10, 0.25, 0.50)
STEP_S = 900.0
START = datetime(2026, 1, 1, tzinfo=UTC)
ANALYSIS = Analysis()
NEVER = np.inf


@dataclass(frozen=True)
class Traffic:
    """What the arms get and how they fail.

    Attributes
    ----------
    per_second
        Requests a second of both arms together.
    canary_share, stable_share
        Share of each arm's requests that fail, apart from the common ups and downs.
    drift
        How far the share that fails goes up and down in the hour, the same for both arms.
    bursty
        Whether load comes in bursts, and both arms fail twenty times as often in one half minute of forty.
    """

    per_second: float
    canary_share: float
    stable_share: float
    drift: float = 0.5
    bursty: bool = False


@dataclass(frozen=True)
class Looks:
    """When the gate looks in a rollout of `WEIGHTS`, by its own `next_look_at`.

    Attributes
    ----------
    at_s
        Time of each look since the rollout began, the first of each weight included.
    span_s
        Seconds of traffic that a look counts; 0 for the first of each weight.
    weight
        The canary's share meanwhile.
    starts
        Whether the look is the first of its weight.
    """

    at_s: Floats
    span_s: Floats
    weight: Floats
    starts: NDArray[np.bool_]


@dataclass(frozen=True)
class Counts:
    """What each look counts, as arrays (n_rollouts, n_looks)."""

    canary: Ints
    canary_bad: Ints
    stable: Ints
    stable_bad: Ints


def plan_looks(weights: tuple[float, ...] = WEIGHTS, step_s: float = STEP_S) -> Looks:
    """Return when the gate looks."""
    rows = []
    gate = Gate()
    for index, weight in enumerate(weights):
        since = START + timedelta(seconds=index * step_s)
        last: datetime | None = None
        while (due := next_look_at(gate, ANALYSIS, since)) < since + timedelta(seconds=step_s):
            span_s = 0.0 if last is None else (due - last).total_seconds()
            rows.append(((due - START).total_seconds(), span_s, weight, last is None))
            gate = gate.model_copy(update={"last_analysis_time": due})
            last = due
    return Looks(*(np.array(column) for column in zip(*rows, strict=True)))


def draw(traffic: Traffic, looks: Looks, rollouts: int, rng: np.random.Generator) -> Counts:
    """Draw what the looks count where each request is split by itself."""
    shape = (rollouts, len(looks.at_s))
    load = np.ones(shape)
    common = 1 + traffic.drift * np.sin(2 * np.pi * looks.at_s / 3600)
    if traffic.bursty:
        load = rng.gamma(0.5, 2.0, shape)
        common = common * np.where(rng.random(shape) < 1 / 40, 20.0, 1.0)
    requests = rng.poisson(load * traffic.per_second * looks.span_s)
    canary = rng.binomial(requests, looks.weight)
    stable = requests - canary
    canary_bad = rng.binomial(canary, np.minimum(traffic.canary_share * common, 1.0))
    stable_bad = rng.binomial(stable, np.minimum(traffic.stable_share * common, 1.0))
    return Counts(canary, canary_bad, stable, stable_bad)


@dataclass(frozen=True)
class Crowd:
    """Clients that keep their revision; a few fail often, the others never.

    Attributes
    ----------
    clients, per_second
        How many there are, and their requests a second in all; a few send most of them.
    failing_clients, failing_share
        Share of the clients that fail, and of their requests that do; `canary_failing_clients` on the canary.
    weight
        The canary's share of the clients, constant.
    routers
        How many routers their requests are spread over.
    """

    clients: int = 600
    per_second: float = 20.0
    failing_clients: float = 0.05
    failing_share: float = 0.20
    weight: float = 0.5
    routers: int = 1
    canary_failing_clients: float | None = None


def _draw_crowd(
    crowd: Crowd, rollouts: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """Return who is on the canary, requests a second and share failing, as arrays (n_rollouts, n_clients)."""
    shape = (rollouts, crowd.clients)
    on_canary = rng.random(shape) < crowd.weight
    rate = rng.gamma(0.5, 2.0 * crowd.per_second / crowd.clients, shape)
    other = crowd.failing_clients if crowd.canary_failing_clients is None else crowd.canary_failing_clients
    fails = rng.random(shape) < np.where(on_canary, other, crowd.failing_clients)
    return on_canary, rate, np.where(fails, crowd.failing_share, 0.0)


def draw_clients(crowd: Crowd, looks: Looks, rollouts: int, rng: np.random.Generator) -> Counts:
    """Draw how many distinct clients, and clients with a failure, each look counts over all routers.

    A client's first request comes after an exponential time; it fails at once or after another one.
    """
    on_canary, rate, share = _draw_crowd(crowd, rollouts, rng)
    edges = np.concatenate(([0.0], looks.at_s))
    found = [np.zeros((rollouts, len(looks.at_s)), dtype=np.int64) for _ in range(4)]
    for _ in range(crowd.routers):
        seen_s = rng.exponential(1.0, rate.shape) / np.maximum(rate / crowd.routers, 1e-12)
        with np.errstate(divide="ignore"):
            later_s = rng.exponential(1.0, rate.shape) / (rate / crowd.routers * share)
        failed_s = seen_s + np.where(rng.random(rate.shape) < share, 0.0, later_s)
        arms = ((on_canary, seen_s), (on_canary, failed_s), (~on_canary, seen_s), (~on_canary, failed_s))
        for total, (arm, when) in zip(found, arms, strict=True):
            for row in range(rollouts):
                total[row] += np.histogram(when[row][arm[row]], edges)[0]
    canary, canary_bad, stable, stable_bad = found
    return Counts(canary, canary_bad, stable, stable_bad)


def draw_sticky_requests(crowd: Crowd, looks: Looks, rollouts: int, rng: np.random.Generator) -> Counts:
    """Draw how many requests each look would count, were requests counted though clients keep their revision."""
    on_canary, rate, share = _draw_crowd(crowd, rollouts, rng)
    found = []
    for arm in (on_canary, ~on_canary):
        good = (rate * (1 - share) * arm).sum(axis=1, keepdims=True)
        bad = (rate * share * arm).sum(axis=1, keepdims=True)
        failed = rng.poisson(bad * looks.span_s)
        found += [failed + rng.poisson(good * looks.span_s), failed]
    return Counts(*found)


@dataclass(frozen=True)
class Limits:
    """What the gate allows, and how it counts."""

    max_ratio: float = 1.0
    max_rate: float | None = None
    clients: bool = False
    routers: int = 1


REQUESTS = Limits()


def log_evidence(counts: Counts, limits: Limits = REQUESTS) -> Floats:
    """Return the logarithm of the gate's evidence after each look, an array (n_rollouts, n_looks)."""
    ratio = _log_ratio_evidence(counts, limits)
    if limits.max_rate is None:
        return ratio
    return _log_mean([ratio, _log_rate_evidence(counts, limits.max_rate, limits.routers)])


def _log_ratio_evidence(counts: Counts, limits: Limits) -> Floats:
    canary, stable = counts.canary.astype(float), counts.stable.astype(float)
    if limits.clients:
        canary, stable = (
            np.cumsum(total, axis=1) - np.cumsum(bad, axis=1) + bad
            for total, bad in ((canary, counts.canary_bad), (stable, counts.stable_bad))
        )
    both = (canary > 0) & (stable > 0)
    canary, stable = np.where(both, canary, 1.0), np.where(both, stable, 1.0)
    null = limits.max_ratio * canary
    log_null, log_stable = np.log(null / (null + stable)), np.log(stable / (null + stable))
    sums = []
    for alternative in ALTERNATIVES:
        other = alternative * null
        gain = np.log(other / (other + stable)) - log_null
        loss = np.log(stable / (other + stable)) - log_stable
        terms = np.where(both, counts.canary_bad * gain + counts.stable_bad * loss, 0.0)
        sums.append(np.cumsum(terms / limits.routers, axis=1))
    return _log_mean(sums)


def _log_rate_evidence(counts: Counts, max_rate: float, routers: int) -> Floats:
    bad = np.cumsum(counts.canary_bad, axis=1)
    good = np.cumsum(counts.canary, axis=1) - bad
    sums = []
    for alternative in ALTERNATIVES:
        shrink = 1.0 - max_rate + alternative * max_rate
        sums.append((bad * np.log(alternative / shrink) - good * np.log(shrink)) / routers)
    return _log_mean(sums)


def _log_mean(logs: list[Floats]) -> Floats:
    mean: Floats = np.logaddexp.reduce(np.stack(logs), axis=0) - np.log(len(logs))
    return mean


def gate_stops_s(counts: Counts, looks: Looks, limits: Limits = REQUESTS) -> Floats:
    """Return when our gate stops each rollout, in seconds since it began; never is infinity."""
    exceeded = log_evidence(counts, limits) >= np.log(1 / SIGNIFICANCE)
    if not limits.clients:
        exceeded |= _breaker_trips(counts, looks, limits.max_ratio)
    return _first(exceeded, looks)


def promoted(counts: Counts, stops_s: Floats) -> NDArray[np.bool_]:
    """Return which rollouts the gate lets through at their end without a person's help."""
    passed: NDArray[np.bool_] = np.isinf(stops_s) & (counts.canary.sum(axis=1) >= ANALYSIS.min_samples)
    return passed


def _breaker_trips(counts: Counts, looks: Looks, max_ratio: float) -> NDArray[np.bool_]:
    step = np.cumsum(looks.starts) - 1
    recent = [
        np.concatenate([np.cumsum(x[:, step == i], axis=1) for i in range(step[-1] + 1)], axis=1)
        for x in (counts.canary, counts.canary_bad, counts.stable, counts.stable_bad)
    ]
    canary, canary_bad, stable, stable_bad = recent
    share = canary_bad / np.maximum(canary, 1)
    stable_share = stable_bad / np.maximum(stable, 1)
    tripped: NDArray[np.bool_] = (
        (canary >= BREAKER_REQUESTS)
        & (share > BREAKER_SHARE)
        & (share > BREAKER_TIMES * max_ratio * stable_share)
    )
    return tripped


def _first(stopped: NDArray[np.bool_], looks: Looks) -> Floats:
    first: Floats = np.where(stopped.any(axis=1), looks.at_s[np.argmax(stopped, axis=1)], NEVER)
    return first


def z_test_stops_s(counts: Counts, looks: Looks, *, z: float = 2.326) -> Floats:
    """Return when a one-sided z-test at 1 %, repeated every 15 s on all counts so far, stops each rollout."""
    slow, at = _every_interval(counts, looks)
    canary, canary_bad, stable, stable_bad = (
        np.cumsum(x, axis=1) for x in (slow.canary, slow.canary_bad, slow.stable, slow.stable_bad)
    )
    pooled = (canary_bad + stable_bad) / np.maximum(canary + stable, 1)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(canary, 1) + 1 / np.maximum(stable, 1)))
    difference = canary_bad / np.maximum(canary, 1) - stable_bad / np.maximum(stable, 1)
    rejected = (difference > z * spread) & (spread > 0) & (canary > 0) & (stable > 0)
    return _first(rejected, at)


def threshold_stops_s(counts: Counts, looks: Looks, *, least: float = 0.95, failures: int = 3) -> Floats:
    """Return when "95 % must succeed", checked every 15 s on that window alone, has failed the third time."""
    slow, at = _every_interval(counts, looks)
    failed = (slow.canary > 0) & (slow.canary - slow.canary_bad < least * slow.canary)
    return _first(np.cumsum(failed, axis=1) >= failures, at)


def _every_interval(counts: Counts, looks: Looks) -> tuple[Counts, Looks]:
    """Merge the gate's early looks into windows of an interval, as others would look."""
    interval_s = ANALYSIS.interval.seconds
    waited_s, last = 0.0, []
    for index, (starts, span_s) in enumerate(zip(looks.starts, looks.span_s, strict=True)):
        waited_s = 0.0 if starts else waited_s + span_s
        if waited_s >= interval_s:
            last.append(index)
            waited_s = 0.0
    chosen = np.array(last)

    def merge(x: Ints) -> Ints:
        return np.diff(np.cumsum(x, axis=1)[:, chosen], axis=1, prepend=0)

    merged = Counts(
        merge(counts.canary), merge(counts.canary_bad), merge(counts.stable), merge(counts.stable_bad)
    )
    at = replace(
        looks,
        at_s=looks.at_s[chosen],
        span_s=looks.span_s[chosen],
        weight=looks.weight[chosen],
        starts=looks.starts[chosen],
    )
    return merged, at
