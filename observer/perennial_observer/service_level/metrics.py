"""Prometheus: how much of each error budget is left, and how fast it burns."""

from collections.abc import Iterator

from perennial_api.modeldeployment.monitoring import MonitorType
from prometheus_client.core import GaugeMetricFamily, Metric

from perennial_observer.registry import Registry
from perennial_observer.service_level.burning import BUDGET_S, WINDOWS_S
from perennial_observer.service_level.judging import ServiceLevels

__all__ = ["BudgetMetrics"]

_LABELS = ("namespace", "deployment", "monitor", "promise")


class BudgetMetrics:
    """Built at each scrape of the monitors that are there: two promises and five windows each at most."""

    def __init__(self, registry: Registry, levels: ServiceLevels) -> None:
        self._registry = registry
        self._levels = levels

    def describe(self) -> list[Metric]:
        """Tell the registry that names are only known at a scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Build the gauges."""
        left = GaugeMetricFamily(
            "perennial_error_budget_left_ratio",
            "Share of the error budget of 30 days that is left; below 0 it is overdrawn.",
            labels=_LABELS,
        )
        rate = GaugeMetricFamily(
            "perennial_error_budget_burn_rate",
            "How many times as fast as allowed the error budget burned in the window.",
            labels=(*_LABELS, "window"),
        )
        for deployment in self._registry.all():
            meta = deployment.metadata
            for monitor in deployment.spec.monitoring.monitors:
                if monitor.type is not MonitorType.SERVICE_LEVEL:
                    continue
                for burn in self._levels.latest.get((meta.uid, monitor.name), ()):
                    place = [meta.namespace, meta.name, monitor.name, burn.promise.value]
                    left.add_metric(place, burn.budget_left)
                    for length_s, window in WINDOWS_S.items():
                        if length_s != BUDGET_S:
                            rate.add_metric([*place, window], burn.rate(length_s))
        yield left
        yield rate
