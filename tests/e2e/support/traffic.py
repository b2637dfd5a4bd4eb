"""Steady traffic through the gateway, with every answer kept apart by revision and status, and by user if it has any."""

import itertools
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

Body = dict[str, Any]


@dataclass
class Traffic:
    """Sends `rate_per_s` requests a second from threads until stopped.

    `answers` counts (revision, status code); a request without an answer counts as ("", 0). With `users`, requests
    come from that many users in turn, each with its id in the header `x-user-id`, or with its own jar of cookies.
    """

    url: str
    body: Body
    rate_per_s: float = 40
    workers: int = 4
    users: int = 0
    cookies: bool = False
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    sides: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    prediction_ids: list[tuple[str, str]] = field(default_factory=list)
    _jars: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    _turn: Any = field(default_factory=itertools.count)
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
        user = f"user-{next(self._turn) % self.users}" if self.users else ""
        headers = {"content-type": "application/json"}
        if user and not self.cookies:
            headers["x-user-id"] = user
        if user and self.cookies and self._jars[user]:
            headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self._jars[user].items())
        prediction_id = ""
        try:
            answer = client.post(self.url, content=payload, headers=headers)
            key = (answer.headers.get("x-model-revision", ""), answer.status_code)
            text = answer.text if answer.status_code >= 500 else ""
            prediction_id = answer.headers.get("x-prediction-id", "")
            if user and self.cookies:
                self._jars[user] |= dict(answer.cookies)
            client.cookies.clear()
        except httpx.HTTPError as error:
            key, text = ("", 0), repr(error)
        with self._lock:
            self.answers[key] += 1
            if user and key[0]:
                self.sides[user].add(key[0])
            if prediction_id and key[1] == 200:
                self.prediction_ids.append((prediction_id, key[0]))
            if text:
                self.failures.append(f"{key}: {text[:200]}")

    def snapshot(self) -> Counter[tuple[str, int]]:
        with self._lock:
            return Counter(self.answers)

    def forget_sides(self) -> None:
        """Begin anew to note which user was answered by which revision."""
        with self._lock:
            self.sides.clear()

    def users_of(self, revision: str) -> set[str]:
        """The users that the revision has answered since sides were forgotten."""
        with self._lock:
            return {user for user, seen in self.sides.items() if revision in seen}

    def changed_sides(self) -> list[str]:
        """The users whom more than one revision has answered since sides were forgotten."""
        with self._lock:
            return sorted(user for user, seen in self.sides.items() if len(seen) > 1)

    def take_predictions(self) -> list[tuple[str, str]]:
        """Return the prediction ids not yet taken, each with its revision."""
        with self._lock:
            taken, self.prediction_ids = self.prediction_ids, []
        return taken

    def counts_by_revision(self, since: Counter[tuple[str, int]] | None = None) -> Counter[str]:
        now = self.snapshot()
        now.subtract(since or Counter())
        out: Counter[str] = Counter()
        for (revision, _), n in now.items():
            out[revision] += n
        return out

    def share_of(self, revision: str, since: Counter[tuple[str, int]] | None = None) -> float:
        """Return the revision's share of the answers, optionally only of those after a snapshot."""
        counts = self.counts_by_revision(since)
        total = sum(counts.values())
        return counts[revision] / total if total else 0.0

    def failed(
        self, *, except_revision: str | None = None, since: Counter[tuple[str, int]] | None = None
    ) -> int:
        now = self.snapshot()
        now.subtract(since or Counter())
        return sum(
            n for (name, code), n in now.items() if (code == 0 or code >= 500) and name != except_revision
        )

    @property
    def total(self) -> int:
        return sum(self.snapshot().values())

    def wait_more(self, requests: int, wait: Callable[..., Any]) -> Counter[tuple[str, int]]:
        """Wait until so many more requests were answered; return the counts of before."""
        before = self.snapshot()
        wanted = sum(before.values()) + requests
        wait(lambda: self.total >= wanted, f"{requests} more requests")
        return before
