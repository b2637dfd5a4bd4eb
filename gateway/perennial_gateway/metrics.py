"""The router agent's metrics, read from the agent and from Envoy at every scrape."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from perennial_gateway.admin import EnvoyCounters
from perennial_gateway.agent import RouteState, RouteStatus
from perennial_gateway.clients import ClientCounter
from perennial_gateway.clusters import Traffic
from perennial_gateway.prediction_log.collector import Collector as LogCollector


class _Reading(Collector):
    def __init__(
        self,
        statuses: Iterable[RouteStatus],
        counters: EnvoyCounters | None,
        watch_failures: Mapping[str, int],
        *,
        clients: ClientCounter,
        log: LogCollector,
        ready: bool,
    ) -> None:
        self._states = Tally(status.state for status in statuses)
        self._counters = counters
        self._watch_failures = watch_failures
        self._clients = clients
        self._log = log
        self._ready = ready

    def collect(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily("perennial_router_ready", "1 if Envoy serves the current routes")
        ready.add_metric([], float(self._ready))
        yield ready
        routes = GaugeMetricFamily("perennial_router_routes", "Routes by state", labels=["state"])
        for state in RouteState:
            routes.add_metric([state], self._states[state])
        yield routes
        failures = CounterMetricFamily(
            "perennial_router_watch_failures", "Watches and lists that the API server failed", labels=["kind"]
        )
        for kind, count in self._watch_failures.items():
            failures.add_metric([kind], count)
        yield failures
        yield from _of_clients(self._clients, self._counters)
        yield from _of_log(self._log, self._counters)
        if self._counters:
            yield from _per_revision(self._counters)


def _of_clients(clients: ClientCounter, counters: EnvoyCounters | None) -> Iterator[Metric]:
    if counters:
        yield CounterMetricFamily(
            "perennial_router_clients_offered",
            "Requests on sticky routes that Envoy had for the agent; those that it hasn't taken were dropped",
            value=counters.clients_offered,
        )
    yield CounterMetricFamily(
        "perennial_router_clients_taken", "Those that the agent has taken", value=clients.taken
    )
    dropped = CounterMetricFamily(
        "perennial_router_clients_dropped",
        "Those whose client isn't counted, as there are too many clients",
        labels=["reason"],
    )
    dropped.add_metric(["limit"], clients.dropped)
    yield dropped


def _of_log(log: LogCollector, counters: EnvoyCounters | None) -> Iterator[Metric]:
    counts = log.counts
    if counters:
        yield CounterMetricFamily(
            "perennial_router_log_offered",
            "Answered requests that Envoy had for the prediction log; those that the agent hasn't taken were dropped",
            value=counters.captured,
        )
    for name, value, text in (
        ("taken", counts.taken, "Those that the agent has taken"),
        ("sent", counts.sent, "Those that the observer has taken"),
        ("left_out", counts.left_out, "Those that aren't to be logged"),
    ):
        yield CounterMetricFamily(f"perennial_router_log_{name}", text, value=value)
    dropped = CounterMetricFamily(
        "perennial_router_log_dropped", "Those that the agent has taken and lost", labels=["reason"]
    )
    for reason, count in sorted(counts.dropped.items()):
        dropped.add_metric([reason], count)
    yield dropped
    yield GaugeMetricFamily(
        "perennial_router_log_queue_bytes", "Bytes that wait to be logged", value=log.queue_bytes
    )


def _per_revision(counters: EnvoyCounters) -> Iterator[Metric]:
    labels = ["namespace", "revision", "traffic"]
    requests = CounterMetricFamily("perennial_gateway_requests", "Finished requests", labels=labels)
    errors = CounterMetricFamily(
        "perennial_gateway_errors", "Finished requests answered 5xx or not at all", labels=labels
    )
    slow = CounterMetricFamily(
        "perennial_gateway_slow", "Finished requests above the route's latency budget", labels=labels
    )
    invalid = CounterMetricFamily(
        "perennial_gateway_invalid", "Finished requests answered 400 or 422", labels=labels
    )
    active = GaugeMetricFamily("perennial_gateway_active_requests", "Requests under way", labels=labels)
    dropped = CounterMetricFamily(
        "perennial_gateway_copies_dropped",
        "Copies that a shadow didn't get, since too many were under way",
        labels=["namespace", "revision"],
    )
    for cluster, values in counters.folded().items():
        if cluster.endswith(f"/{Traffic.MIRROR}"):
            dropped.add_metric(cluster.split("/")[:2], values.dropped)
        where = _labels(cluster)
        if where is None:
            continue
        requests.add_metric(where, values.requests)
        errors.add_metric(where, values.errors)
        slow.add_metric(where, values.slow)
        invalid.add_metric(where, values.invalid)
        active.add_metric(where, values.active)
    yield from (requests, errors, slow, invalid, active, dropped)


def _labels(cluster: str) -> list[str] | None:
    """Return namespace, revision and kind of traffic, or None for a cluster that is no revision's."""
    parts = cluster.split("/")
    if len(parts) == 1 or parts[-1] == Traffic.MIRROR:
        return None
    return [*parts, "live"] if len(parts) == 2 else parts  # noqa: PLR2004 - namespace and revision


def render_metrics(
    statuses: Iterable[RouteStatus],
    counters: EnvoyCounters | None,
    watch_failures: Mapping[str, int],
    *,
    clients: ClientCounter,
    log: LogCollector,
    ready: bool,
) -> bytes:
    """Return the metrics in Prometheus' text format; without Envoy's counters if it doesn't answer."""
    registry = CollectorRegistry()
    registry.register(_Reading(statuses, counters, watch_failures, clients=clients, log=log, ready=ready))
    return generate_latest(registry)
