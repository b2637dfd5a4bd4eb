"""What becomes of requests on their way to one outlet, counted so that nothing is lost unseen."""

from perennial_server.metrics import Metrics


class LogCounts:
    """Counters of one outlet, in requests: taken = sent + left out + dropped + those still waiting.

    Parameters
    ----------
    metrics
        Of this process.
    outlet
        "Observer" or "Sink".
    """

    def __init__(self, metrics: Metrics, outlet: str) -> None:
        self._dropped = metrics.log_dropped
        self._outlet = outlet
        self.taken = metrics.log_taken.labels(outlet)
        self.left_out = metrics.log_left_out.labels(outlet)
        self.sent = metrics.log_sent.labels(outlet)
        self.queue_bytes = metrics.log_queue_bytes.labels(outlet)

    def drop(self, reason: str, n_requests: int) -> None:
        """Count requests that are lost."""
        self._dropped.labels(self._outlet, reason).inc(n_requests)
