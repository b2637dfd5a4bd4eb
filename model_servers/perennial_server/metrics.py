"""The server's metrics, in a registry of their own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
        self.predictions = Counter("perennial_server_predictions", "Rows predicted.", registry=self.registry)
        self.model_errors = Counter(
            "perennial_server_model_errors", "Requests on which the model raised.", registry=self.registry
        )
        self.log_queue_bytes = Gauge(
            "perennial_server_log_queue_bytes",
            "Bytes of log entries waiting to be sent.",
            registry=self.registry,
        )
        self.log_dropped = Counter(
            "perennial_server_log_dropped",
            "Log entries lost: QueueFull, TooLarge, Refused by the observer, Undelivered, or at Shutdown.",
            ["reason"],
            registry=self.registry,
        )
        self.log_sent = Counter(
            "perennial_server_log_sent", "Log entries that the observer took.", registry=self.registry
        )

    def render(self) -> bytes:
        """Write all metrics in Prometheus' text format."""
        return generate_latest(self.registry)
