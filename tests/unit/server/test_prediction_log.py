"""The queue before an outlet, and the sender behind it."""

import asyncio

import numpy as np
import pytest
from perennial_observer.api.tensors import TENSORS_TYPE, read_tensors
from perennial_server.attempts import Refused, Undelivered
from perennial_server.prediction_log.counts import LogCounts
from perennial_server.prediction_log.outlets import ObserverOutlet
from perennial_server.prediction_log.queue import LogQueue
from perennial_server.prediction_log.selection import Selection
from perennial_server.prediction_log.sender import LogSender
from perennial_server.prediction_log.sizes import estimate_bytes

from .conftest import build_settings
from .log_batches import build_batch, read_count, read_ids

SIZE = estimate_bytes(build_batch("a"))
EVERYTHING = Selection(100, "All", frozenset(), ("x",), None)


def build_queue(metrics, max_bytes):
    return LogQueue(max_bytes, LogCounts(metrics, "Observer"))


def take_all(queue):
    return queue.take(max_bytes=10**9, max_requests=10**9)


def test_a_full_queue_drops_and_counts_the_oldest(metrics):
    queue = build_queue(metrics, 3 * SIZE)
    for letter in "abcde":
        queue.put(build_batch(letter))
    assert (read_ids(take_all(queue)), len(queue), queue.size_bytes) == (["c", "d", "e"], 0, 0)
    assert read_count(metrics, "dropped_total", reason="QueueFull") == 2
    assert read_count(metrics, "taken_total") == 5


def test_requests_are_counted_and_not_batches(metrics):
    queue = build_queue(metrics, estimate_bytes(build_batch("a", "b", "c")))
    queue.put(build_batch("a", "b"))
    queue.put(build_batch("c", "d", "e"))
    assert read_count(metrics, "dropped_total", reason="QueueFull") == 2
    assert len(queue) == 3


def test_a_batch_larger_than_the_queue_is_dropped_alone(metrics):
    queue = build_queue(metrics, 3 * SIZE)
    queue.put(build_batch("a"))
    queue.put(build_batch("b", "c", matrix=np.zeros((2, 10_000))))
    assert read_ids(take_all(queue)) == ["a"]
    assert read_count(metrics, "dropped_total", reason="TooLarge") == 2


def test_the_queue_never_holds_more_than_its_bound(metrics):
    queue = build_queue(metrics, 5_000)
    for n in range(1, 300, 7):
        queue.put(build_batch("a", columns={"x": ["x" * n]}))
        assert queue.size_bytes <= 5_000
        assert read_count(metrics, "queue_bytes") == queue.size_bytes > 0


@pytest.mark.parametrize(
    ("rows", "held"),
    [
        ({"columns": {"x": ["x" * 100_000]}}, 100_000),
        ({"columns": {"x": [None, "ü" * 100_000]}}, 100_000),
        ({"columns": {"x": [2**62] * 10_000}}, 10_000 * 36),
        ({"columns": {"x": [None] * 10_000}}, 10_000 * 8),
        ({"columns": {"x": np.array(["x" * 1_000] * 10, dtype=object)}}, 10 * 1_000),
        ({"columns": {"x": np.zeros(10_000)}}, 80_000),
        ({"matrix": np.zeros((100, 100), np.float32)}, 40_000),
    ],
)
def test_an_estimate_is_never_below_what_is_held(rows, held):
    n = len(rows["columns"]["x"]) if "columns" in rows else 100
    got = estimate_bytes(build_batch("a", sizes=[n], **rows))
    assert held <= got <= 4 * held + 8 * n + 4_000


def test_what_is_taken_stays_within_both_limits_but_is_at_least_one(metrics):
    queue = build_queue(metrics, 100 * SIZE)
    for letter in "abcd":
        queue.put(build_batch(letter))
    assert read_ids(queue.take(max_bytes=2 * SIZE + 1, max_requests=10)) == ["a", "b"]
    assert read_ids(queue.take(max_bytes=1, max_requests=10)) == ["c"]
    assert read_ids(queue.take(max_bytes=100 * SIZE, max_requests=1)) == ["d"]
    assert take_all(queue) == []


def test_a_batch_over_a_limit_is_cut_and_nothing_of_it_lost(metrics):
    queue = build_queue(metrics, 100 * SIZE)
    queue.put(build_batch(*"abcdefg", sizes=[1, 2, 3, 1, 2, 3, 1]))
    got = []
    while part := queue.take(max_bytes=100 * SIZE, max_requests=2):
        assert sum(len(batch.sizes) for batch in part) <= 2
        got += part
    assert read_ids(got) == list("abcdefg")
    assert [value for batch in got for value in batch.rows.columns["x"]] == [float(i) for i in range(13)]
    assert np.concatenate([batch.outputs["predict"] for batch in got]).tolist() == list(range(13))
    assert queue.size_bytes == 0


class FakePoster:
    """Fails as often as told, then takes everything."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.bodies = []
        self.called = asyncio.Event()

    async def post(self, path, body, *, attempts, content_type):
        self.called.set()
        assert (path, content_type) == ("/v1/log", TENSORS_TYPE)
        if self.failures:
            failure = self.failures.pop(0)
            if failure is None:
                await asyncio.Event().wait()
            raise failure
        self.bodies.append(read_tensors(body))


def build_sender(poster, metrics, selection=EVERYTHING):
    settings = build_settings(log_interval_s=0.01, log_batch_entries=2)
    counts = LogCounts(metrics, "Observer")
    queue = LogQueue(1_000_000, counts)
    outlet = ObserverOutlet(poster, settings)
    return queue, LogSender("Observer", queue, outlet, selection=selection, counts=counts, settings=settings)


async def test_closing_sends_what_is_left(metrics):
    poster = FakePoster()
    queue, sender = build_sender(poster, metrics)
    for letter in "abc":
        queue.put(build_batch(letter))
    await sender.close(timeout_s=30)
    assert [body["groups"][0]["ids"] for body in poster.bodies] == [["a", "b"], ["c"]]
    assert {(body["revision"], body["percent"]) for body in poster.bodies} == {("wine-1a2b3c4d", 100)}
    assert read_count(metrics, "sent_total") == 3


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Refused("no"), "Refused"),
        (Undelivered("no"), "Undelivered"),
        (TypeError("what nobody can write"), "Unwritable"),
    ],
)
async def test_what_cannot_be_sent_is_counted_and_the_next_message_goes(metrics, failure, reason):
    poster = FakePoster(failure)
    queue, sender = build_sender(poster, metrics)
    for letter in "abcd":
        queue.put(build_batch(letter))
    await sender.close(timeout_s=30)
    assert (read_count(metrics, "dropped_total", reason=reason), read_count(metrics, "sent_total")) == (2, 2)


async def test_closing_gives_up_in_time_and_loses_nothing_uncounted(metrics):
    poster = FakePoster(None)
    queue, sender = build_sender(poster, metrics)
    for letter in "abcde":
        queue.put(build_batch(letter))
    async with asyncio.timeout(10):
        await poster.called.wait()
    await sender.close(timeout_s=0.01)
    assert read_count(metrics, "dropped_total", reason="Shutdown") == 5
    assert read_count(metrics, "sent_total") == 0


async def test_what_is_not_to_be_logged_is_sent_nowhere_and_counted(metrics):
    poster = FakePoster()
    selection = Selection(100, "Request", frozenset({"x"}), ("x",), None)
    queue, sender = build_sender(poster, metrics, selection)
    queue.put(build_batch("a", "b"))
    await sender.close(timeout_s=30)
    assert poster.bodies == []
    assert (read_count(metrics, "left_out_total"), read_count(metrics, "sent_total")) == (2, 0)
