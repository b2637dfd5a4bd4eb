"""The router agent's metrics, read from the agent and from Envoy at every scrape."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from perennial_gateway.admin import EnvoyCounters
from perennial_gateway.agent import RouteState, RouteStatus


class _Reading(Collector):
    def __init__(
        self,
        statuses: Iterable[RouteStatus],
        counters: EnvoyCounters | None,
        watch_failures: Mapping[str, int],
        *,
        ready: bool,
    ) -> None:
        self._states = Tally(status.state for status in statuses)
        self._counters = counters
        self._watch_failures = watch_failures
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
        if self._counters:
            yield from _per_revision(self._counters)


def _per_revision(counters: EnvoyCounters) -> Iterator[Metric]:
    labels = ["namespace", "revision"]
    requests = CounterMetricFamily("perennial_gateway_requests", "Finished requests", labels=labels)
    errors = CounterMetricFamily(
        "perennial_gateway_errors", "Finished requests answered 5xx or not at all", labels=labels
    )
    active = GaugeMetricFamily("perennial_gateway_active_requests", "Requests under way", labels=labels)
    for cluster, values in counters.clusters.items():
        namespace, separator, revision = cluster.partition("/")
        if separator:
            requests.add_metric([namespace, revision], values.requests)
            errors.add_metric([namespace, revision], values.errors)
            active.add_metric([namespace, revision], values.active)
    yield from (requests, errors, active)


def render_metrics(
    statuses: Iterable[RouteStatus],
    counters: EnvoyCounters | None,
    watch_failures: Mapping[str, int],
    *,
    ready: bool,
) -> bytes:
    """Return the metrics in Prometheus' text format; without Envoy's counters if it doesn't answer."""
    registry = CollectorRegistry()
    registry.register(_Reading(statuses, counters, watch_failures, ready=ready))
    return generate_latest(registry)
