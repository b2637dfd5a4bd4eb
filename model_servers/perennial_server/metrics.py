"""The server's metrics, in a registry of their own.

What is counted per request or per call of the model has a method here, which knows the labelled children already: looking
one up costs more than counting.
"""

from collections import Counter as Tally
from collections.abc import Sequence

from perennial_bundle import Flag
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096, 16384)
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """All metrics of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "perennial_server_requests", "Inference requests answered.", ["code"], registry=self.registry
        )
        self.duration_s = Histogram(
            "perennial_server_request_duration_seconds",
            "Time from a whole request head to the answer, in seconds.",
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._by_status: dict[int, Counter] = {}
        refused = Counter(
            "perennial_server_refused",
            "Requests refused before their body was read: no place (Full), or too long a wait (Wait).",
            ["reason"],
            registry=self.registry,
        )
        self.refused_for_place = refused.labels("Full")
        self.refused_for_wait = refused.labels("Wait")
        self.expired = Counter(
            "perennial_server_expired",
            "Requests whose deadline passed while they waited for the model.",
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "perennial_server_in_flight", "Requests being answered or waiting.", registry=self.registry
        )
        self.in_flight_bytes = Gauge(
            "perennial_server_in_flight_bytes", "Bytes of their bodies.", registry=self.registry
        )
        self.batch_rows = Histogram(
            "perennial_server_batch_rows",
            "Rows in one call of the model.",
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )
        self.predict_duration_s = Histogram(
            "perennial_server_predict_duration_seconds",
            "Time of one call of the model, in seconds.",
            buckets=(0.0001, 0.00025, 0.0005, *BUCKETS_S),
            registry=self.registry,
        )
        self.flagged = Counter(
            "perennial_server_flagged_values",
            "Values that the schema let through though they aren't as the model knows them.",
            ["column", "kind", "action"],
            registry=self.registry,
        )
        self.explanations = Counter(
            "perennial_server_explanations",
            "Requests for explanations answered.",
            ["code"],
            registry=self.registry,
        )
        self.explanation_duration_s = Histogram(
            "perennial_server_explanation_duration_seconds",
            "Time from a request for an explanation to the answer, in seconds.",
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self.predictions = Counter("perennial_server_predictions", "Rows predicted.", registry=self.registry)
        self.unrated_rows = Counter(
            "perennial_server_unrated_rows",
            "Rows whose oddness couldn't be told.",
            registry=self.registry,
        )
        self.model_errors = Counter(
            "perennial_server_model_errors", "Requests on which the model raised.", registry=self.registry
        )
        self.log_queue_bytes = Gauge(
            "perennial_server_log_queue_bytes",
            "Bytes of predictions waiting to be sent, by where they go.",
            ["to"],
            registry=self.registry,
        )
        self.log_taken = Counter(
            "perennial_server_log_taken", "Requests handed to the log.", ["to"], registry=self.registry
        )
        self.log_left_out = Counter(
            "perennial_server_log_left_out",
            "Requests that aren't to be logged: outside the sample, or without a column that may leave.",
            ["to"],
            registry=self.registry,
        )
        self.log_sent = Counter(
            "perennial_server_log_sent", "Requests whose log was taken over.", ["to"], registry=self.registry
        )
        self.log_dropped = Counter(
            "perennial_server_log_dropped",
            "Requests whose log was lost: QueueFull, TooLarge, Refused, Undelivered, Unwritable or at Shutdown.",
            ["to", "reason"],
            registry=self.registry,
        )

    def count_request(self, status: int, duration_s: float) -> None:
        """Count an inference request that was answered."""
        child = self._by_status.get(status)
        if child is None:
            child = self._by_status[status] = self.requests.labels(str(status))
        child.inc()
        self.duration_s.observe(duration_s)

    def count_explanation(self, status: int, duration_s: float) -> None:
        """Count a request for an explanation: apart, since it takes longer than any prediction."""
        self.explanations.labels(str(status)).inc()
        self.explanation_duration_s.observe(duration_s)

    def count_call(self, n_rows: int, duration_s: float, flags: Sequence[Flag]) -> None:
        """Count one call of the model that was answered, unless it was for probes."""
        self.predictions.inc(n_rows)
        self.batch_rows.observe(n_rows)
        self.predict_duration_s.observe(duration_s)
        if flags:
            for labels, n in Tally((flag.column, flag.kind, flag.action) for flag in flags).items():
                self.flagged.labels(*labels).inc(n)

    def render(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
