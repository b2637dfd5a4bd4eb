"""Sends the test server's predictions and a made-up reference sample to the observer, in a thread of its own."""

import json
import queue
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from statistics import NormalDist
from typing import Any

from knobs import Knobs

QUEUE_ENTRIES = 10_000
BATCH_ENTRIES = 500
INTERVAL_S = 0.2
TIMEOUT_S = 10
ATTEMPTS = 60
RETRYABLE = {401, 403, 429, 500, 502, 503, 504}
REFERENCE_ROWS = 2_000


class ObserverLog:
    """A bounded queue of log entries and the thread that empties it."""

    def __init__(self, knobs: Knobs) -> None:
        self._knobs = knobs
        self._entries: queue.Queue[dict[str, Any] | None] = queue.Queue(QUEUE_ENTRIES)
        self._thread = threading.Thread(target=self._run, name="observer-log", daemon=True)
        self._thread.start()

    def put(self, entry: dict[str, Any]) -> None:
        """Queue an entry, or drop it if the queue is full: answers never wait."""
        try:
            self._entries.put_nowait(entry)
        except queue.Full:
            print("log entry dropped", file=sys.stderr)

    def close(self) -> None:
        """Send what is queued."""
        self._entries.put(None)
        self._thread.join(TIMEOUT_S)

    def _run(self) -> None:
        self._post("/v1/reference", render_reference(self._knobs))
        entry = self._entries.get()
        while entry is not None:
            batch = [entry]
            time.sleep(INTERVAL_S)
            entry = None
            while len(batch) < BATCH_ENTRIES and not self._entries.empty():
                entry = self._entries.get()
                if entry is None:
                    self._post("/v1/log", {"revision": self._knobs.revision, "entries": batch})
                    return
                batch.append(entry)
            self._post("/v1/log", {"revision": self._knobs.revision, "entries": batch})
            entry = self._entries.get()

    def _post(self, path: str, body: dict[str, Any]) -> None:
        """Send JSON as often as needed: the operator's objects may come to the observer after our pod."""
        data = json.dumps(body).encode()
        problem = ""
        for _ in range(ATTEMPTS):
            try:
                token = Path(self._knobs.token_file).read_text(encoding="utf-8").strip()
                headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
                request = urllib.request.Request(self._knobs.observer_url + path, data, headers)
                with urllib.request.urlopen(request, timeout=TIMEOUT_S):
                    return
            except urllib.error.HTTPError as error:
                problem = f"status {error.code}: {error.read(500)!r}"
                if error.code not in RETRYABLE:
                    break
            except OSError as error:
                problem = repr(error)
            time.sleep(1)
        print(f"{path} not delivered: {problem}", file=sys.stderr)


def render_reference(knobs: Knobs) -> dict[str, Any]:
    """Return the body of `POST /v1/reference`: one feature x, normal around REFERENCE_MEAN with a deviation of 1."""
    values = reference_values(knobs.reference_mean, REFERENCE_ROWS)
    return {
        "revision": knobs.revision,
        "bundle_digest": knobs.bundle_digest,
        "task": knobs.task,
        "schema": {
            "inputs": [{"name": "x", "datatype": "FP64", "role": "Feature"}],
            "outputs": [{"name": "predict", "datatype": "FP64"}],
        },
        "rows": {"x": values},
        "outputs": {"predict": [knobs.predict] * len(values)},
        "event_time": None,
    }


def reference_values(mean: float, count: int) -> list[float]:
    """Spread quantiles of a normal distribution so that every stretch of them looks like the whole."""
    normal = NormalDist(mean, 1.0)
    # The golden ratio's multiples modulo 1 never cluster.
    return [normal.inv_cdf(((i + 1) * 0.6180339887498949) % 1.0) for i in range(count)]
