"""The figures of one scrape: what the latest look found, monitor by monitor, and how many windows it has judged.

Labels are names and words of the API, and names of columns up to a bound; never a message, a value or a breach id.
"""

from perennial_api.modeldeployment.monitoring import MonitorType
from perennial_api.monitorreport import MonitorState, MonitorVerdict
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from perennial_observer.monitors.alarms.verdicts import MAX_FEATURES, Assessment, Memory, Tally
from perennial_observer.monitors.looks.reports import DeploymentReport

__all__ = ["BY_MONITOR", "MonitorGauges"]

BY_DEPLOYMENT = ("namespace", "deployment")
BY_MONITOR = (*BY_DEPLOYMENT, "monitor", "type", "severity")
# Stands for the feature that decides.
LARGEST = "_max"


class MonitorGauges:
    """Collects the figures of all deployments."""

    def __init__(self) -> None:
        self.statistic = _gauge(
            "perennial_monitor_statistic",
            "Statistic of the latest window; feature _max is the one that decides.",
            "feature",
        )
        self.threshold = _gauge("perennial_monitor_threshold", "Value beyond which a window breaches.")
        self.breach = _gauge("perennial_monitor_breach", "Whether the latest window breached (0 or 1).")
        self.samples = _gauge("perennial_monitor_window_samples", "Rows of the latest window.")
        self.state = _gauge("perennial_monitor_state", "1 for the state that the monitor is in.", "state")
        self.calibrated = _gauge(
            "perennial_monitor_calibrated",
            "Whether the reference was long enough for the false-alarm rate that is asked for (0 or 1).",
        )
        self.evaluated = _gauge(
            "perennial_monitor_last_evaluation_timestamp_seconds", "When the latest window was judged."
        )
        self.evaluations = _counter(
            "perennial_monitor_evaluations",
            "Windows judged since the monitor or its model was changed: passed, breached, insufficient or failed.",
            "result",
        )
        self.breaches = _counter("perennial_monitor_breaches", "Windows of those that breached.")
        self.performance = _gauge(
            "perennial_model_performance",
            "Performance in the latest window, realised (by labels) or estimated (without).",
            "metric",
            "kind",
        )
        self.lower = _gauge(
            "perennial_model_performance_lower", "Lower end of its 95 % interval.", "metric", "kind"
        )
        self.upper = _gauge(
            "perennial_model_performance_upper", "Upper end of its 95 % interval.", "metric", "kind"
        )
        self.coverage = _gauge(
            "perennial_label_coverage_ratio", "Share of the latest mature window's rows that have a label."
        )
        self.watermark = GaugeMetricFamily(
            "perennial_log_watermark_timestamp_seconds",
            "Event time up to which rows have probably all arrived.",
            labels=BY_DEPLOYMENT,
        )

    def families(self) -> list[Metric]:
        """Return all of them."""
        return list(vars(self).values())

    def add(self, report: DeploymentReport) -> None:
        """Add one deployment's figures."""
        names = [report.key.namespace, report.key.name]
        if report.status.log.watermark is not None:
            self.watermark.add_metric(names, report.status.log.watermark.timestamp())
        for verdict in report.status.monitors:
            place = [*names, verdict.name, verdict.type.value, verdict.severity.value]
            for known in MonitorState:
                self.state.add_metric([*place, known.value], float(verdict.state is known))
            memory = report.memories.get(verdict.name)
            if verdict.type is not MonitorType.SERVICE_LEVEL:  # which has no windows
                self._add_tally(place, Tally() if memory is None else memory.tally)
            if memory is not None and memory.latest is not None:
                self._add_window(place, memory, memory.latest)
                self._add_performance(place, verdict, memory.latest)

    def _add_tally(self, place: list[str], tally: Tally) -> None:
        for result, windows in tally:
            self.evaluations.add_metric([*place, result], windows)
        self.breaches.add_metric(place, tally.breached)

    def _add_window(self, place: list[str], memory: Memory, latest: Assessment) -> None:
        self.samples.add_metric(place, latest.samples)
        self.breach.add_metric(place, float(bool(latest.breached)))
        self.evaluated.add_metric(place, memory.evaluated_at or 0.0)
        if latest.calibrated is not None:
            self.calibrated.add_metric(place, float(latest.calibrated))
        if latest.coverage is not None:
            self.coverage.add_metric(place, latest.coverage)
        if latest.threshold is not None:
            self.threshold.add_metric(place, latest.threshold)
        if latest.statistic is not None:
            self.statistic.add_metric([*place, LARGEST], latest.statistic)
            for feature, value in latest.features[:MAX_FEATURES]:
                self.statistic.add_metric([*place, feature], value)

    def _add_performance(self, place: list[str], verdict: MonitorVerdict, latest: Assessment) -> None:
        if latest.metric is None or latest.statistic is None:
            return
        is_estimated = verdict.type is MonitorType.ESTIMATED_PERFORMANCE
        series = [*place, latest.metric, "estimated" if is_estimated else "realised"]
        self.performance.add_metric(series, latest.statistic)
        for gauge, end in ((self.lower, latest.lower), (self.upper, latest.upper)):
            if end is not None:
                gauge.add_metric(series, end)


def _counter(name: str, documentation: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, documentation, labels=(*BY_MONITOR, *labels))


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=(*BY_MONITOR, *labels))
