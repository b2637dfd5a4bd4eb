"""The demo's clients: live requests through the gateway, labels sent back a day later in event time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx

from perennial_demo.replay import LABEL_DELAY_S, Request, RollingAuc

REQUEST_TIMEOUT_S = 30.0
CONCURRENCY = 6
FEEDBACK_BATCH = 500


@dataclass
class Tally:
    """What the clients saw."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    labels_sent: int = 0
    clock_s: float = 0.0
    auc: RollingAuc = field(default_factory=RollingAuc)
    failures: list[str] = field(default_factory=list)

    def failed(self, *, except_revision: str | None = None) -> int:
        """Count requests answered 5xx or not at all, but for those of one revision."""
        return sum(
            count
            for (revision, code), count in self.answers.items()
            if (code == 0 or code >= httpx.codes.INTERNAL_SERVER_ERROR) and revision != except_revision
        )

    def refused(self) -> int:
        """Count requests answered 4xx."""
        return sum(
            n
            for (_, code), n in self.answers.items()
            if httpx.codes.BAD_REQUEST <= code < httpx.codes.INTERNAL_SERVER_ERROR
        )


@dataclass(frozen=True)
class _Due:
    at_s: float
    prediction_id: str
    labels: tuple[int, ...]
    served: tuple[float, ...]
    first: tuple[float, ...]


class Clients:
    """Replays requests at `rate_per_s()` until stopped or the year is over.

    Parameters
    ----------
    url
        Address of the deployment at the gateway, without a slash at the end.
    rate_per_s
        Asked before each request: the demo slows the clock down while the control plane works.
    """

    def __init__(
        self, url: str, model: str, requests: Iterator[Request], rate_per_s: Callable[[], float]
    ) -> None:
        self.tally = Tally()
        self.finished = False
        self._url = url
        self._model = model
        self._requests = requests
        self._rate_per_s = rate_per_s
        self._stopping = False
        self._due: deque[_Due] = deque()

    def stop(self) -> None:
        """End the replay after the requests under way."""
        self._stopping = True

    def run(self) -> None:
        """Replay; called in a thread of its own."""
        asyncio.run(self._replay())
        self.finished = True

    async def _replay(self) -> None:
        limits = httpx.Limits(max_connections=CONCURRENCY + 1)
        async with httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S, limits=limits) as client:
            running: set[asyncio.Task[None]] = set()
            next_at = time.monotonic()
            for request in self._requests:
                if self._stopping:
                    break
                next_at = max(next_at + 1 / self._rate_per_s(), time.monotonic() - 1)
                await asyncio.sleep(max(0.0, next_at - time.monotonic()))
                if len(running) >= CONCURRENCY:
                    _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                running.add(asyncio.create_task(self._predict(client, request)))
                self.tally.clock_s = request.time_s
                await self._send_labels(client)
            if running:
                await asyncio.wait(running)

    async def _predict(self, client: httpx.AsyncClient, request: Request) -> None:
        try:
            answer = await client.post(f"{self._url}/v2/models/{self._model}/infer", json=request.body)
        except httpx.HTTPError as error:
            self.tally.answers["", 0] += 1
            self.tally.failures.append(repr(error))
            return
        revision = answer.headers.get("x-model-revision", "")
        self.tally.answers[revision, answer.status_code] += 1
        if answer.status_code != httpx.codes.OK:
            self.tally.failures.append(f"{answer.status_code} {revision}: {answer.text[:300]}")
            return
        outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
        self._due.append(
            _Due(
                request.time_s + LABEL_DELAY_S,
                answer.headers["x-prediction-id"],
                request.labels,
                tuple(outputs["probability"]),
                request.first_scores,
            )
        )

    async def _send_labels(self, client: httpx.AsyncClient) -> None:
        due: list[_Due] = []
        while self._due and self._due[0].at_s <= self.tally.clock_s:
            due.append(self._due.popleft())
        if not due:
            return
        feedback = [
            {"prediction_id": d.prediction_id, "row": row, "label": label}
            for d in due
            for row, label in enumerate(d.labels)
        ]
        for start in range(0, len(feedback), FEEDBACK_BATCH):
            batch = feedback[start : start + FEEDBACK_BATCH]
            try:
                answer = await client.post(f"{self._url}/feedback", json={"feedback": batch})
            except httpx.HTTPError as error:
                self.tally.failures.append(f"feedback: {error!r}")
                continue
            if answer.status_code == httpx.codes.OK:
                self.tally.labels_sent += len(batch)
        for d in due:
            for label, served, first in zip(d.labels, d.served, d.first, strict=True):
                self.tally.auc.add(label, served, first)
