import asyncio
import json

import pytest
from perennial_server.observer_client import Refused, Undelivered
from perennial_server.prediction_log.queue import ENTRY_OVERHEAD_BYTES, LogQueue, LogSender

from .conftest import build_settings

SIZE = 100 + ENTRY_OVERHEAD_BYTES


def build_entry(letter):
    return b'"' + letter.encode() * 98 + b'"'


def read_dropped(metrics, reason):
    return metrics.registry.get_sample_value("perennial_server_log_dropped_total", {"reason": reason}) or 0


def read_sent(metrics):
    return metrics.registry.get_sample_value("perennial_server_log_sent_total")


def test_a_full_queue_drops_and_counts_the_oldest(metrics):
    queue = LogQueue(3 * SIZE, metrics)
    for letter in "abcde":
        queue.put(build_entry(letter))
    assert queue.take(max_bytes=10_000, max_entries=10) == [build_entry(letter) for letter in "cde"]
    assert read_dropped(metrics, "QueueFull") == 2
    assert queue.size_bytes == 0


def test_an_entry_larger_than_the_queue_is_dropped_alone(metrics):
    queue = LogQueue(3 * SIZE, metrics)
    queue.put(build_entry("a"))
    queue.put(b"x" * 4 * SIZE)
    assert len(queue) == 1
    assert read_dropped(metrics, "TooLarge") == 1


def test_the_queue_never_holds_more_than_its_bound(metrics):
    queue = LogQueue(1000, metrics)
    for size in range(1, 900, 7):
        queue.put(b"x" * size)
        assert queue.size_bytes <= 1000
        assert metrics.registry.get_sample_value("perennial_server_log_queue_bytes") == queue.size_bytes


def test_a_batch_stays_within_both_limits_but_has_at_least_one_entry(metrics):
    queue = LogQueue(10 * SIZE, metrics)
    for letter in "abcd":
        queue.put(build_entry(letter))
    assert len(queue.take(max_bytes=250, max_entries=10)) == 2
    assert len(queue.take(max_bytes=10, max_entries=10)) == 1
    assert len(queue.take(max_bytes=1000, max_entries=10)) == 1
    assert queue.take(max_bytes=1000, max_entries=10) == []


class FakePoster:
    """Fails as often as told, then takes everything."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.bodies = []
        self.called = asyncio.Event()

    async def post(self, path, body, *, attempts):
        self.called.set()
        assert path == "/v1/log"
        if self.failures:
            failure = self.failures.pop(0)
            if failure is None:
                await asyncio.Event().wait()
            raise failure
        self.bodies.append(json.loads(body))


def build_sender(poster, metrics, **changes):
    settings = build_settings(log_interval_s=0.01, log_batch_entries=2, **changes)
    queue = LogQueue(10_000, metrics)
    return queue, LogSender(queue, poster, metrics, settings)


async def test_closing_sends_what_is_left(metrics):
    poster = FakePoster()
    queue, sender = build_sender(poster, metrics)
    for letter in "abc":
        queue.put(build_entry(letter))
    await sender.close(timeout_s=30)
    assert [len(body["entries"]) for body in poster.bodies] == [2, 1]
    assert {body["revision"] for body in poster.bodies} == {"wine-1a2b3c4d"}
    assert read_sent(metrics) == 3


@pytest.mark.parametrize(
    ("failure", "reason"), [(Refused("no"), "Refused"), (Undelivered("no"), "Undelivered")]
)
async def test_what_cannot_be_sent_is_counted_and_the_next_batch_goes(metrics, failure, reason):
    poster = FakePoster(failure)
    queue, sender = build_sender(poster, metrics)
    for letter in "abcd":
        queue.put(build_entry(letter))
    await sender.close(timeout_s=30)
    assert (read_dropped(metrics, reason), read_sent(metrics)) == (2, 2)


async def test_closing_gives_up_in_time_and_loses_nothing_uncounted(metrics):
    poster = FakePoster(None)
    queue, sender = build_sender(poster, metrics)
    for letter in "abcde":
        queue.put(build_entry(letter))
    await poster.called.wait()
    await sender.close(timeout_s=0.01)
    assert read_dropped(metrics, "Shutdown") == 5
    assert read_sent(metrics) == 0
