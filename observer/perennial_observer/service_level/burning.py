"""How fast an error budget burns, and whether that is an alarm. Pure.

An objective of 99.9 % leaves a budget: 0.1 % of the requests of 30 days may be bad. The burn rate says how many times as
fast as that the budget goes; at 1 it lasts the 30 days, at 14.4 two days. A rate counts only over a long and a short
window at once: the long one shows that it matters, the short one that it still goes on.

Source: Google, *The Site Reliability Workbook*, chapter 5, "Alerting on SLOs", sixth approach (multiwindow,
multi-burn-rate alerts), with its pairs of windows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from perennial_api.modeldeployment.monitoring import ServiceLevel, Severity
from scipy.stats import binom

from perennial_observer.monitors.alarms.verdicts import Assessment
from perennial_observer.service_level.counting import Tally

__all__ = [
    "BUDGET_S",
    "LOOK_S",
    "WINDOWS_S",
    "Burn",
    "Judgement",
    "Promise",
    "Rules",
    "Windows",
    "judge_burn",
    "measure",
]

BUDGET_S = 30 * 86_400
_5_MINUTES, _30_MINUTES, _HOUR, _6_HOURS, _3_DAYS = 300, 1800, 3600, 21_600, 259_200
WINDOWS_S: Mapping[int, str] = {
    _5_MINUTES: "5m",
    _30_MINUTES: "30m",
    _HOUR: "1h",
    _6_HOURS: "6h",
    _3_DAYS: "3d",
    BUDGET_S: "30d",
}
"""All windows that are counted, with their names."""

MOST_SHARE = 0.9
"""No limit asks for a larger share of bad requests: 14.4 times a budget of 10 % would never be reached, not even by an
outage."""

STANDING_SHARE = 0.5
"""An alarm stands until one window of each pair is below this share of its limit: a rate that goes up and down around the
limit is one alarm, not a hundred a month."""

LOOK_S = 60.0
"""Time between two looks."""

Windows = Mapping[int, Tally]
"""Counts by the window's length in seconds."""


@dataclass(frozen=True)
class _Pair:
    """Two windows, and the burn rate that both must exceed."""

    long_s: int
    short_s: int
    limit: float
    is_fast: bool


_PAIRS = (
    _Pair(_HOUR, _5_MINUTES, 14.4, is_fast=True),
    _Pair(_6_HOURS, _30_MINUTES, 6.0, is_fast=True),
    _Pair(_3_DAYS, _6_HOURS, 1.0, is_fast=False),
)


class Promise(StrEnum):
    """What is promised of requests."""

    AVAILABILITY = "availability"
    LATENCY = "latency"

    @property
    def breaking(self) -> str:
        """What a request does that breaks it."""
        return "fail" if self is Promise.AVAILABILITY else "are slower than server.latencyBudget"

    def count_bad(self, tally: Tally) -> int:
        """Return the requests that break it; the counters are not read in one instant, so there may seem to be more."""
        return min(tally.requests, tally.failed if self is Promise.AVAILABILITY else tally.slow)


@dataclass(frozen=True)
class Burn:
    """One objective with what its windows hold.

    Parameters
    ----------
    objective
        Share of requests that must be good.
    windows
        In which a latency promise has only what was counted by the latency budget in force.
    """

    promise: Promise
    objective: float
    windows: Windows

    @property
    def allowed(self) -> float:
        """Share of requests that may be bad."""
        return 1.0 - self.objective

    def rate(self, window_s: int) -> float:
        """Return how many times as fast as allowed the budget burned in a window; 0 where nothing was asked."""
        tally = self.windows[window_s]
        return self.promise.count_bad(tally) / tally.requests / self.allowed if tally.requests else 0.0

    @property
    def budget_left(self) -> float:
        """Share of the 30 days' budget that is left; below 0 it is overdrawn."""
        return 1.0 - self.rate(BUDGET_S)


@dataclass(frozen=True)
class _Found:
    """One pair of one objective, judged."""

    burn: Burn
    pair: _Pair
    limit: float
    is_standing: bool
    is_judged: bool
    is_burning: bool

    @property
    def rate(self) -> float:
        """The burn rate that both windows reach."""
        return min(self.burn.rate(self.pair.long_s), self.burn.rate(self.pair.short_s))

    @property
    def excess(self) -> float:
        """How the rate compares with its limit."""
        return self.rate / self.limit


@dataclass(frozen=True)
class Judgement:
    """What was found, and the length of the window that decided."""

    assessment: Assessment
    window_s: int


def measure(spec: ServiceLevel, all_requests: Windows, by_budget: Windows) -> tuple[Burn, ...]:
    """Put a promise beside what was counted.

    Parameters
    ----------
    by_budget
        What was counted while the latency budget was what it is now: only that can be called slow.
    """
    burns = []
    if spec.availability is not None:
        burns.append(Burn(Promise.AVAILABILITY, spec.availability, all_requests))
    if spec.latency is not None:
        burns.append(Burn(Promise.LATENCY, spec.latency.objective, by_budget))
    return tuple(burns)


@dataclass(frozen=True)
class Rules:
    """What a monitor asks of an alarm.

    Parameters
    ----------
    min_requests
        How many requests a long window must hold.
    severity
        With Page only fast burning counts, which uses up a budget within days.
    false_alarm_every_s
        How often a service that just keeps its promise may seem to break it.
    is_standing
        Whether the alarm has been raised, and the question is whether it ends.
    """

    min_requests: int
    severity: Severity
    false_alarm_every_s: float
    is_standing: bool = False


def judge_burn(burns: Sequence[Burn], rules: Rules) -> Judgement:
    """Judge how fast the budgets burn now.

    A pair of windows burns if both are above its limit and the long one has more bad requests than chance explains.
    """
    pairs = [pair for pair in _PAIRS if pair.is_fast or rules.severity is not Severity.PAGE]
    found = [_judge(burn, pair, rules) for burn in burns for pair in pairs]
    judged = [one for one in found if one.is_judged]
    if not judged:
        longest_s = max(pair.long_s for pair in pairs)
        requests = min(burn.windows[longest_s].requests for burn in burns)
        few = Assessment(
            breached=None,
            reason="TooFewRequests",
            message=(
                f"{requests} requests in {WINDOWS_S[longest_s]}, serviceLevel.minRequests is {rules.min_requests}"
            ),
            samples=requests,
        )
        return Judgement(few, longest_s)
    worst = max(judged, key=lambda one: (one.is_burning, one.is_burning and one.pair.is_fast, one.excess))
    assessment = Assessment(
        breached=worst.is_burning,
        reason=_name(worst),
        message=f"{_describe(worst)}; {_describe_budgets(burns)}{_describe_unjudged(found, rules.min_requests)}",
        samples=worst.burn.windows[worst.pair.long_s].requests,
        statistic=worst.rate,
        threshold=worst.limit,
    )
    return Judgement(assessment, worst.pair.long_s)


def _judge(burn: Burn, pair: _Pair, rules: Rules) -> _Found:
    limit = min(pair.limit, MOST_SHARE / burn.allowed) * (STANDING_SHARE if rules.is_standing else 1.0)
    held = burn.windows[pair.long_s]
    is_judged = held.requests >= rules.min_requests
    is_over = min(burn.rate(pair.long_s), burn.rate(pair.short_s)) > limit
    is_burning = (
        is_judged
        and is_over
        and (rules.is_standing or _is_beyond_chance(burn, pair, rules.false_alarm_every_s))
    )
    return _Found(burn, pair, limit, rules.is_standing, is_judged, is_burning)


def _is_beyond_chance(burn: Burn, pair: _Pair, false_alarm_every_s: float) -> bool:
    """Whether a service that just keeps its promise has so many bad requests in at most one look in that time.

    The looks of a month are not independent, as their windows overlap. But the expected number of those that are wrong is
    the sum of their probabilities all the same, so there is one false alarm in that time at most.
    """
    held = burn.windows[pair.long_s]
    chance = float(binom.sf(burn.promise.count_bad(held) - 1, held.requests, burn.allowed))
    return chance <= LOOK_S / false_alarm_every_s


def _name(found: _Found) -> str:
    if not found.is_burning:
        return "WithinBudget"
    return "BurningFast" if found.pair.is_fast else "BurningSlowly"


def _describe(found: _Found) -> str:
    burn, pair = found.burn, found.pair
    held = burn.windows[pair.long_s]
    share = burn.promise.count_bad(held) / held.requests
    windows = f"{WINDOWS_S[pair.long_s]} and {WINDOWS_S[pair.short_s]}"
    end = ", below which the alarm ends" if found.is_standing else ""
    if not found.is_burning:
        return (
            f"{share:.2%} of requests {burn.promise.breaking} in {WINDOWS_S[pair.long_s]}: the {burn.promise} budget burns"
            f" {found.rate:.3g} times as fast as allowed over {windows}, the limit is {found.limit:.3g}"
        )
    return (
        f"{share:.2%} of requests {burn.promise.breaking} in {WINDOWS_S[pair.long_s]} and {burn.allowed:.2%} may: the"
        f" {burn.promise} budget burns {found.rate:.3g} times as fast as allowed over {windows}, above the limit of"
        f" {found.limit:.3g}{end}; at that rate 30 days' budget lasts {_lasts(found.rate)}"
    )


def _lasts(rate: float) -> str:
    hours = BUDGET_S / 3600 / rate
    return f"{hours:.0f} hours" if hours < 72 else f"{hours / 24:.0f} days"  # noqa: PLR2004  three days


def _describe_budgets(burns: Sequence[Burn]) -> str:
    return ", ".join(
        f"{burn.budget_left:.0%} of the {burn.promise} budget of 30 days is left"
        if burn.budget_left >= 0
        else f"the {burn.promise} budget of 30 days is overdrawn by {-burn.budget_left:.0%}"
        for burn in burns
    )


def _describe_unjudged(found: Sequence[_Found], min_requests: int) -> str:
    names = sorted({one.pair.long_s for one in found if not one.is_judged})
    if not names:
        return ""
    windows = " and ".join(WINDOWS_S[length_s] for length_s in names)
    return f"; {windows} not judged, with fewer than serviceLevel.minRequests of {min_requests}"
