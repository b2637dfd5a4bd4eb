"""Live traffic through the gateway: requests, answers kept apart by revision, labels sent back late."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import httpx
import numpy as np
import numpy.typing as npt

from perennial_demo.auc import AucTrack
from perennial_demo.replay import Bodies, Label, LateLabels, Request

HTTP_OK = 200
QUEUED_REQUESTS = 64
LABELS_PER_CALL = 400
FEEDBACK_PAUSE_S = 0.2
FEEDBACK_ATTEMPTS = 5
KEPT_FAILURES = 50


@dataclass(frozen=True)
class Failure:
    """A request that was not answered 200."""

    revision: str
    status: int
    time_s: float
    text: str


@dataclass
class Ledger:
    """Everything that clients saw; `revision` is the answer's ``x-model-revision``, empty without an answer."""

    requests: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    labels_sent: int = 0
    feedback_failures: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Requests finished."""
        return sum(self.requests.values())

    def fail(self, failure: Failure) -> None:
        """Count a failed request; the first ones are kept with their text."""
        self.failed[failure.revision] += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(failure)


class Traffic:
    """Sends requests by a fixed number of workers from a bounded queue: a slow server slows the replay down.

    Parameters
    ----------
    url
        Address of the deployment, ``http://<gateway>/<namespace>/<name>``.
    model
        Name in v2 paths.
    truth
        int64 (n,): labels of all replayed rows.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        bodies: Bodies,
        truth: npt.NDArray[np.int64],
        labels: LateLabels,
        track: AucTrack,
        concurrency: int,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.ledger = Ledger()
        self._infer_url = f"{url}/v2/models/{model}/infer"
        self._feedback_url = f"{url}/feedback"
        self._bodies = bodies
        self._truth = truth
        self._labels = labels
        self._track = track
        self._concurrency = concurrency
        self._queue: asyncio.Queue[Request] = asyncio.Queue(QUEUED_REQUESTS)
        limits = httpx.Limits(max_connections=concurrency + 2, max_keepalive_connections=concurrency + 2)
        self._client = httpx.AsyncClient(timeout=timeout_s, limits=limits, transport=transport)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._concurrency)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def send(self, request: Request) -> None:
        """Queue a request; waits while the queue is full."""
        self._raise_if_broken()
        await self._queue.put(request)

    async def drain(self) -> None:
        """Wait until all queued requests are answered."""
        await self._queue.join()

    async def send_labels(self, now_s: float) -> None:
        """Send the labels that are known by event time `now_s`."""
        while labels := self._labels.due(now_s, LABELS_PER_CALL):
            await self._feed_back(labels)

    def _raise_if_broken(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _work(self) -> None:
        while True:
            request = await self._queue.get()
            try:
                await self._ask(request)
            finally:
                self._queue.task_done()

    async def _ask(self, request: Request) -> None:
        try:
            answer = await self._client.post(
                self._infer_url,
                content=self._bodies.build(request),
                headers={"content-type": "application/json"},
            )
        except httpx.HTTPError as error:
            self.ledger.requests[""] += 1
            self.ledger.fail(Failure("", 0, request.time_s, repr(error)))
            return
        revision = answer.headers.get("x-model-revision", "")
        self.ledger.requests[revision] += 1
        if answer.status_code != HTTP_OK:
            self.ledger.fail(Failure(revision, answer.status_code, request.time_s, answer.text[:300]))
            return
        outputs = {output["name"]: output["data"] for output in json.loads(answer.content)["outputs"]}
        self.ledger.rows += len(request)
        self._track.record(request.first, request.last, revision, outputs["probability"])
        self._labels.learn(request, answer.headers["x-prediction-id"], self._truth)

    async def _feed_back(self, labels: Sequence[Label]) -> None:
        document = {
            "feedback": [
                {"prediction_id": one.prediction_id, "row": one.row, "label": one.value} for one in labels
            ]
        }
        for attempt in range(FEEDBACK_ATTEMPTS):
            try:
                answer = await self._client.post(self._feedback_url, json=document)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == HTTP_OK:
                self.ledger.labels_sent += len(labels)
                return
            await asyncio.sleep(FEEDBACK_PAUSE_S * 2**attempt)
        self.ledger.feedback_failures += 1
