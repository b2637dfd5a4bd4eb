"""Prometheus metrics. Gauges are built from the latest look at each scrape, so that nothing stale is ever shown."""

from collections.abc import Callable, Iterator, Mapping

from perennial_api.monitorreport import MonitorState
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from perennial_observer.errors import ObserverError
from perennial_observer.monitors.evaluation import DeploymentReport
from perennial_observer.monitors.verdicts import Assessment, Memory
from perennial_observer.store.rows import DeploymentKey, FeedbackCounts, LogCounts
from perennial_observer.store.store import Store

__all__ = ["Metrics"]

_BY_DEPLOYMENT = ("namespace", "deployment")
_BY_MONITOR = (*_BY_DEPLOYMENT, "monitor")


class Metrics:
    """All metrics of the process.

    Parameters
    ----------
    reports
        Gives the latest look, by uid.
    """

    def __init__(self, store: Store, reports: Callable[[], Mapping[str, DeploymentReport]]) -> None:
        self.registry = CollectorRegistry()
        self._reports = reports
        self.log_rows = Counter(
            "perennial_log_rows",
            (
                "Rows received, by what became of them: accepted, duplicate, rejected, shadow (a mirrored answer) or "
                "unsampled (more came than maxRowsPerSecond)."
            ),
            (*_BY_DEPLOYMENT, "result"),
            registry=self.registry,
        )
        self.rejected_rows = Counter(
            "perennial_log_rejected_rows",
            "Rows kept apart because they don't fit, by reason.",
            (*_BY_DEPLOYMENT, "reason"),
            registry=self.registry,
        )
        self.labels = Counter(
            "perennial_labels",
            (
                "Labels received, by what became of them: accepted, duplicate, conflict, unknown, dropped, unsampled "
                "(of a prediction that isn't logged) or mistyped (a text where the model answers numbers, or vice versa)."
            ),
            (*_BY_DEPLOYMENT, "result"),
            registry=self.registry,
        )
        self.refused = Counter(
            "perennial_observer_refused_requests",
            "Requests refused, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.looks = Counter(
            "perennial_observer_looks",
            "Looks at all windows, by result.",
            ("result",),
            registry=self.registry,
        )
        self.comparisons = Counter(
            "perennial_observer_comparisons",
            "Looks at what revisions answer side by side, by result.",
            ("result",),
            registry=self.registry,
        )
        self.look_seconds = Gauge(
            "perennial_observer_look_duration_seconds", "Duration of the latest look.", registry=self.registry
        )
        self.detectors_up = Gauge(
            "perennial_observer_detectors_up",
            "Whether the detector sidecar answers (0 or 1).",
            registry=self.registry,
        )
        size = Gauge(
            "perennial_observer_database_bytes", "Size of the embedded database.", registry=self.registry
        )
        size.set_function(store.size_bytes)
        waiting = Gauge(
            "perennial_observer_write_queue_bytes", "Bytes waiting to be written.", registry=self.registry
        )
        waiting.set_function(lambda: store.writer.waiting_bytes)
        self.registry.register(self)

    def render(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self.registry)

    def count_log(self, key: DeploymentKey, counts: LogCounts) -> None:
        """Count what became of a batch of log entries."""
        names = (key.namespace, key.name)
        self.log_rows.labels(*names, "accepted").inc(counts.accepted)
        self.log_rows.labels(*names, "duplicate").inc(counts.duplicates)
        self.log_rows.labels(*names, "rejected").inc(counts.rejected)
        self.log_rows.labels(*names, "shadow").inc(counts.shadow)
        self.log_rows.labels(*names, "unsampled").inc(counts.unsampled)
        for reason, rows in counts.reasons.items():
            self.rejected_rows.labels(*names, reason).inc(rows)

    def count_feedback(self, key: DeploymentKey, counts: FeedbackCounts) -> None:
        """Count what became of a batch of labels."""
        names = (key.namespace, key.name)
        self.labels.labels(*names, "accepted").inc(counts.accepted)
        self.labels.labels(*names, "duplicate").inc(counts.duplicates)
        self.labels.labels(*names, "conflict").inc(counts.conflicts)
        self.labels.labels(*names, "unknown").inc(counts.kept)
        self.labels.labels(*names, "unsampled").inc(counts.unsampled)
        self.labels.labels(*names, "mistyped").inc(counts.mistyped)
        self.labels.labels(*names, "dropped").inc(counts.unknown - counts.kept)

    def count_refusal(self, error: ObserverError) -> None:
        """Count a request that was answered with an error."""
        self.refused.labels(error.reason).inc()

    def describe(self) -> list[Metric]:
        """Tell the registry that names are only known at a scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Build the monitors' gauges."""
        gauges = _MonitorGauges()
        for report in self._reports().values():
            gauges.add(report)
        yield from gauges.families()


class _MonitorGauges:
    """The gauges of one scrape."""

    def __init__(self) -> None:
        self.statistic = GaugeMetricFamily(
            "perennial_monitor_statistic",
            "Statistic of the latest window; feature _max is the one that decides.",
            labels=(*_BY_MONITOR, "feature"),
        )
        self.threshold = _gauge("perennial_monitor_threshold", "Value beyond which a window breaches.")
        self.breach = _gauge("perennial_monitor_breach", "Whether the latest window breached (0 or 1).")
        self.samples = _gauge("perennial_monitor_window_samples", "Rows of the latest window.")
        self.state = GaugeMetricFamily(
            "perennial_monitor_state",
            "1 for the state that the monitor is in.",
            labels=(*_BY_MONITOR, "state"),
        )
        self.evaluated = _gauge(
            "perennial_monitor_last_evaluation_timestamp_seconds",
            "When the latest window was judged.",
        )
        self.performance = GaugeMetricFamily(
            "perennial_model_performance",
            "Performance of the latest mature window.",
            labels=(*_BY_MONITOR, "metric", "kind"),
        )
        self.watermark = GaugeMetricFamily(
            "perennial_log_watermark_timestamp_seconds",
            "Event time up to which rows have probably all arrived.",
            labels=_BY_DEPLOYMENT,
        )

    def families(self) -> list[GaugeMetricFamily]:
        """Return all of them."""
        return list(vars(self).values())

    def add(self, report: DeploymentReport) -> None:
        """Add one deployment's figures."""
        names = [report.key.namespace, report.key.name]
        if report.status.log.watermark is not None:
            self.watermark.add_metric(names, report.status.log.watermark.timestamp())
        for verdict in report.status.monitors:
            place = [*names, verdict.name]
            for known in MonitorState:
                self.state.add_metric([*place, known.value], float(verdict.state is known))
            memory = report.memories.get(verdict.name)
            if memory is not None and memory.latest is not None:
                self._add_window(place, memory, memory.latest)

    def _add_window(self, place: list[str], memory: Memory, latest: Assessment) -> None:
        self.samples.add_metric(place, latest.samples)
        self.breach.add_metric(place, float(bool(latest.breached)))
        self.evaluated.add_metric(place, memory.evaluated_at or 0.0)
        if latest.statistic is None or latest.threshold is None:
            return
        self.threshold.add_metric(place, latest.threshold)
        self.statistic.add_metric([*place, "_max"], latest.statistic)
        for feature, value in latest.features:
            self.statistic.add_metric([*place, feature], value)
        if latest.metric is not None:
            self.performance.add_metric([*place, latest.metric, "realised"], latest.statistic)


def _gauge(name: str, documentation: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=_BY_MONITOR)
