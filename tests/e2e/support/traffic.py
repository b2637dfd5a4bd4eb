"""Steady traffic through the gateway, with every answer kept apart by revision and status."""

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

Body = dict[str, Any]


@dataclass
class Traffic:
    """Sends `rate_per_s` requests a second from a thread until stopped.

    `answers` counts (revision, status code); a request without an answer counts as ("", 0).
    """

    url: str
    body: Body
    rate_per_s: float = 40
    workers: int = 4
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.workers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _work(self) -> None:
        pause_s = self.workers / self.rate_per_s
        payload = json.dumps(self.body).encode()
        with httpx.Client(timeout=20) as client:
            while not self._stop.is_set():
                started = time.monotonic()
                self._send(client, payload)
                self._stop.wait(max(0.0, pause_s - (time.monotonic() - started)))

    def _send(self, client: httpx.Client, payload: bytes) -> None:
        try:
            answer = client.post(self.url, content=payload, headers={"content-type": "application/json"})
            key = (answer.headers.get("x-model-revision", ""), answer.status_code)
            text = answer.text if answer.status_code >= 500 else ""
        except httpx.HTTPError as error:
            key, text = ("", 0), repr(error)
        with self._lock:
            self.answers[key] += 1
            if text:
                self.failures.append(f"{key}: {text[:200]}")

    def snapshot(self) -> Counter[tuple[str, int]]:
        with self._lock:
            return Counter(self.answers)

    def share_of(self, revision: str, since: Counter[tuple[str, int]] | None = None) -> float:
        """Return the revision's share of the answers, optionally only of those after a snapshot."""
        now = self.snapshot()
        now.subtract(since or Counter())
        total = sum(now.values())
        return sum(n for (name, _), n in now.items() if name == revision) / total if total else 0.0

    def failed(self, *, except_revision: str | None = None) -> int:
        return sum(
            n
            for (name, code), n in self.snapshot().items()
            if (code == 0 or code >= 500) and name != except_revision
        )

    @property
    def total(self) -> int:
        return sum(self.snapshot().values())
