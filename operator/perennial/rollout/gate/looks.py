"""Look at the counters when it is time, and keep what they say in `status.rollout.gate`."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from perennial_api.modeldeployment.analysis import Analysis, Metric, MetricType
from perennial_api.modeldeployment.gate_status import Gate, GateMetric, MetricCounts

from perennial.rollout.gate.collect import ArmNews, RouterNews, collect_arms, collect_routers, count_routers
from perennial.rollout.gate.counters import Counts
from perennial.rollout.gate.eprocess import GateState, update, update_clients
from perennial.rollout.gate.judge import state_of
from perennial.rollout.gate.readings import take_reading
from perennial.rollout.gate.verdict import judge_metrics
from perennial.rollout.lineage import digest_of
from perennial.rollout.observed import Observed

__all__ = ["next_look_at", "observe_gate"]

FIRST_LOOKS_S = 60.0
FIRST_INTERVAL_S = 3.0
"""A gross failure shows at once or never: in the first minute after a change of weight one looks this often. Looking
often costs no false alarms."""


def next_look_at(gate: Gate, analysis: Analysis, weight_since: datetime) -> datetime:
    """Return when the counters are to be read next.

    `weight_since` is when the canary's weight last changed. What comes in within `initialDelay` of it isn't
    counted: the first look after the delay only sets the marks.
    """
    count_from = _count_from(analysis, weight_since)
    last = gate.last_analysis_time
    if last is None or last < count_from:
        return count_from
    interval_s = analysis.interval.seconds
    if last < count_from + timedelta(seconds=FIRST_LOOKS_S):
        interval_s = min(interval_s, FIRST_INTERVAL_S)
    return last + timedelta(seconds=interval_s)


def observe_gate(
    gate: Gate,
    analysis: Analysis,
    observed: Observed,
    *,
    canary: str,
    stable: str,
    weight_since: datetime,
    now: datetime,
) -> Gate:
    """Return the gate's state after a look at the counters, or the same state when it isn't time for one.

    The first look after a change of weight counts no requests: they are from before it, or from its initial delay.
    Clients are counted all the same, since one that has failed has failed; so is what the observer reports, since
    it comes late and of both revisions alike.
    """
    if now < next_look_at(gate, analysis, weight_since):
        return gate
    last, count_from = gate.last_analysis_time, _count_from(analysis, weight_since)
    starts = last is None or last < count_from
    by_client = observed.by_client if last is None else gate.by_client
    routers, requests = collect_routers(gate.routers, observed.routers, (canary, stable))
    arms, answers = collect_arms(
        gate.arms, observed.arms, (canary, stable), by_client=by_client, began_at=weight_since
    )
    if starts:
        requests = {name: RouterNews(clients=news.clients) for name, news in requests.items()}
    recent = (MetricCounts(), MetricCounts()) if starts else (gate.recent_canary, gate.recent_stable)
    seen = gate.model_copy(
        update={
            "by_client": by_client,
            "routers": routers,
            "arms": arms,
            "last_analysis_time": now,
            "canary": gate.canary + requests[canary].errors.requests,
            "stable": gate.stable + requests[stable].errors.requests,
            "recent_canary": _add(recent[0], requests[canary].errors),
            "recent_stable": _add(recent[1], requests[stable].errors),
        }
    )
    look = _Look(
        gate=seen,
        analysis=analysis,
        observed=observed,
        news=((requests[canary], answers[canary]), (requests[stable], answers[stable])),
        count_from=count_from,
        now=now,
    )
    counted = seen.model_copy(
        update={"metrics": tuple(look.next_state(metric) for metric in analysis.metrics)}
    )
    return judge_metrics(counted, analysis)


def _count_from(analysis: Analysis, weight_since: datetime) -> datetime:
    return weight_since + timedelta(seconds=analysis.initial_delay.seconds)


def _add(counts: MetricCounts, new: Counts) -> MetricCounts:
    return MetricCounts(total=counts.total + new.requests, bad=counts.bad + new.errors)


_News = tuple[RouterNews, ArmNews]


@dataclass(frozen=True, slots=True)
class _Look:
    """All that came in at one look, canary first."""

    gate: Gate
    analysis: Analysis
    observed: Observed
    news: tuple[_News, _News]
    count_from: datetime
    now: datetime

    def next_state(self, metric: Metric) -> GateMetric:
        """Return one metric's state after this look.

        Where somebody has edited what it counts or its bounds, it starts anew: the evidence was about others.
        """
        limits_hash = digest_of(metric.model_copy(update={"dry_run": False}).to_api())
        found = next((m for m in self.gate.metrics if m.name == metric.name), None)
        if found is None or found.limits_hash not in {"", limits_hash}:
            found = GateMetric(name=metric.name)
        return self._look_at(metric, found).model_copy(update={"limits_hash": limits_hash})

    def _look_at(self, metric: Metric, found: GateMetric) -> GateMetric:
        if metric.prometheus is not None:
            return take_reading(
                found,
                metric.prometheus,
                self.observed.readings.get(metric.name),
                interval_s=self.analysis.interval.seconds,
                count_from=self.count_from,
                now=self.now,
            )
        return _to_metric(metric.name, self._add_window(metric, state_of(found)))

    def _add_window(self, metric: Metric, state: GateState) -> GateState:
        by_client = self.gate.by_client
        canary, stable = (_counts_of(metric.type, *news, by_client=by_client) for news in self.news)
        if by_client and metric.type is MetricType.ERROR_RATE:
            routers = count_routers(self.gate.routers)
            return update_clients(state, canary, stable, metric.max_ratio, metric.max_rate, routers=routers)
        return update(state, canary, stable, metric.max_ratio, metric.max_rate)


def _counts_of(kind: MetricType, requests: RouterNews, answers: ArmNews, *, by_client: bool) -> Counts:
    match kind:
        case MetricType.ERROR_RATE:
            return requests.clients if by_client else requests.errors
        case MetricType.SLOW_RATE:
            return requests.slow
        case MetricType.INVALID_RATE:
            return requests.invalid
        case MetricType.OUTLIER_RATE:
            return answers.outliers
        case MetricType.FEEDBACK:
            return answers.labels
        case MetricType.PROMETHEUS:
            raise AssertionError("a number has no counts")


def _to_metric(name: str, state: GateState) -> GateMetric:
    return GateMetric(
        name=name,
        canary=_add(MetricCounts(), state.canary),
        stable=_add(MetricCounts(), state.stable),
        log_e_values=state.log_likelihoods,
        log_rate_e_values=state.rate_log_likelihoods,
    )
