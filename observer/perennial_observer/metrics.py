"""Prometheus metrics. Gauges are built from the latest look at each scrape, so that nothing stale is ever shown."""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import Metric

from perennial_observer.errors import ObserverError
from perennial_observer.gauges import MonitorGauges
from perennial_observer.monitors.looks.reports import DeploymentReport
from perennial_observer.store.rows import DeploymentKey, FeedbackCounts, LogCounts
from perennial_observer.store.store import Store

__all__ = ["Metrics"]

_BY_DEPLOYMENT = ("namespace", "deployment")

# Series that begin at their first event hide it: a rate needs two samples. So all of these are there from the start.
_LOG_RESULTS = ("accepted", "late", "duplicate", "rejected", "shadow", "unsampled")
_LABEL_RESULTS = ("accepted", "duplicate", "conflict", "unknown", "unsampled", "mistyped", "dropped")
_LOOK_RESULTS = ("ok", "error")
_WEBHOOK_RESULTS = ("delivered", "failed", "refused", "given_up")


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
                "unsampled (more came than maxRowsPerSecond); and late, those of the accepted whose event time was "
                "behind the watermark, so that windows may have closed without them."
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
        self.webhooks = Counter(
            "perennial_observer_webhooks",
            "Attempts to post a webhook, by result: delivered, failed (tried again later), refused or given_up; and"
            " dropped, events that too many others pushed out.",
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
        for counter, results in (
            (self.looks, _LOOK_RESULTS),
            (self.comparisons, _LOOK_RESULTS),
            (self.webhooks, _WEBHOOK_RESULTS),
        ):
            for result in results:
                counter.labels(result)

    def render(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self.registry)

    def count_log(self, key: DeploymentKey, counts: LogCounts) -> None:
        """Count what became of a batch of log entries."""
        names = (key.namespace, key.name)
        self.log_rows.labels(*names, "accepted").inc(counts.accepted)
        self.log_rows.labels(*names, "late").inc(counts.late)
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

    def count_webhook(self, result: str) -> None:
        """Count an attempt to post a webhook, by what became of it."""
        self.webhooks.labels(result).inc()

    def keep_only(self, known: AbstractSet[tuple[str, str]]) -> None:
        """Count for these deployments, (namespace, name), from zero on; forget others: names must not pile up."""
        for namespace, name in known:
            for result in _LOG_RESULTS:
                self.log_rows.labels(namespace, name, result)
            for result in _LABEL_RESULTS:
                self.labels.labels(namespace, name, result)
        for counter in (self.log_rows, self.rejected_rows, self.labels):
            samples = [sample for metric in counter.collect() for sample in metric.samples]
            found = {(sample.labels["namespace"], sample.labels["deployment"]) for sample in samples}
            for namespace, name in found - known:
                counter.remove_by_labels({"namespace": namespace, "deployment": name})

    def describe(self) -> list[Metric]:
        """Tell the registry that names are only known at a scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Build the monitors' gauges."""
        gauges = MonitorGauges()
        for report in self._reports().values():
            gauges.add(report)
        yield from gauges.families()
