"""What becomes of exchanges between Envoy and the observer."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections import deque
from dataclasses import replace
from typing import Any

import pytest
from perennial_gateway.model import RecordedPart, RouteKey
from perennial_gateway.otlp import Malformed, Record, read_records
from perennial_gateway.prediction_log.bodies import PART_BYTES, Message, render_messages
from perennial_gateway.prediction_log.exchanges import EXCHANGE_BYTES, Exchange, read_told
from perennial_gateway.prediction_log.queue import ExchangeQueue, LogCounts
from perennial_gateway.prediction_log.reading import (
    MAX_COLUMNS,
    MAX_UNPACKED_BYTES,
    MAX_VALUES,
    TooLarge,
    read_exchange,
)
from perennial_gateway.prediction_log.strangers import MAX_BYTES, MAX_MESSAGES, Strangers
from perennial_gateway.prediction_log.tensors import MAX_NAME, Unreadable

WINE = RouteKey("shop", "wine")


def tensor(name: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": "FP64", "data": data}


def exchange(
    *inputs: dict[str, Any], outputs: Any = None, log: RecordedPart | None = None, **fields: Any
) -> Exchange:
    asked = {"inputs": list(inputs or (tensor("x", [1], [1.0]),))}
    answered = {"outputs": [tensor("predict", [1], [2.0])] if outputs is None else outputs}
    values: dict[str, Any] = {
        "route": WINE,
        "revision": "wine-a",
        "log": log or RecordedPart(),
        "prediction_id": "p1",
        "time_s": 1.0,
        "client": None,
        "is_shadow": False,
        "request": json.dumps(asked).encode(),
        "response": json.dumps(answered).encode(),
    }
    return Exchange(**(values | fields))


def test_vectors_and_matrices_of_inputs_become_columns_and_those_of_outputs_stay_whole() -> None:
    predict = [tensor("predict", [2, 1], [0, 1]), tensor("probability", [2, 2], [0.1, 0.9, 0.2, 0.8])]
    nested = tensor("b", [2, 2], [[1, 2], [3, 4]])
    got = read_exchange(exchange(tensor("a", [2], ["u", None]), nested, outputs=predict))
    assert got.inputs == {"a": ["u", None], "b.0": [1, 3], "b.1": [2, 4]}
    assert got.outputs == {"predict": [0, 1], "probability": [[0.1, 0.9], [0.2, 0.8]]}
    assert got.n_rows == 2


@pytest.mark.parametrize(
    ("log", "inputs", "outputs"),
    [
        (RecordedPart(has_outputs=False), {"a", "b.0", "b.1"}, set()),
        (RecordedPart(has_inputs=False), set(), {"predict"}),
        (RecordedPart(exclude=("a", "b.1")), {"b.0"}, {"predict"}),
        (RecordedPart(exclude=("b",)), {"a"}, {"predict"}),
    ],
)
def test_only_what_the_logger_asks_for_is_read(log, inputs, outputs) -> None:
    got = read_exchange(exchange(tensor("a", [1], [1]), tensor("b", [1, 2], [2, 3]), log=log))
    assert (set(got.inputs), set(got.outputs)) == (inputs, outputs)


@pytest.mark.parametrize(
    "changes",
    [
        {"request": b"\x00binary"},
        {"request": b"[" * 100_000},
        {"request": b"[]"},
        {"request": b'{"inputs": []}'},
        {"request": b'{"inputs": [{"name": "x", "shape": [1], "data": ["\\ud800"]}]}'},
        {"request": b'{"inputs": [{"name": "x", "shape": [1], "data": ["\xed\xa0\x80"]}]}'},
        {"request": '{"inputs": [{"name": "x", "shape": [1], "data": ["\\ud800"]}]}'.encode("utf-16")},
        {"request": b'{"inputs": [{"name": "x", "shape": [1], "data": [1e999]}]}'},
        {"request": b'{"inputs": [{"name": "x", "shape": [1], "data": [18446744073709551616]}]}'},
        {"request": b'{"inputs": [{"name": "x", "shape": [1], "data": [{}]}]}'},
        {"request": b'{"inputs": [{"name": "x", "shape": [1, 1, 1], "data": [1]}]}'},
        {"request": b'{"inputs": [{"name": "x", "shape": [2], "data": [1]}]}'},
        {"request": b'{"inputs": [{"name": "x", "shape": [2], "data": [1, 2]}]}'},
        {"response": b'{"outputs": [{"name": "predict", "shape": [1]}]}'},
        {"response_encoding": "br"},
        {"request_encoding": "gzip"},
        {"request_encoding": "gzip", "request": base64.b64encode(gzip.compress(b'{"inputs": []}')[:-9])},
    ],
)
def test_what_is_not_of_the_protocol_is_unreadable(changes) -> None:
    with pytest.raises(Unreadable):
        read_exchange(exchange(**changes))


def packed(document: Any, spaces: int = 0) -> bytes:
    """As a body comes that a client has compressed."""
    return base64.b64encode(gzip.compress(json.dumps(document).encode() + b" " * spaces))


def packed_exchange(n_rows: int, spaces: int = 0) -> Exchange:
    """One of two columns, whose request is compressed."""
    data, answers = [0] * n_rows, [tensor("predict", [n_rows], [1] * n_rows)]
    request = packed({"inputs": [tensor("x", [n_rows], data)]}, spaces)
    return exchange(request=request, request_encoding="gzip", outputs=answers)


def test_request_and_answer_together_unpack_to_so_many_bytes() -> None:
    half = MAX_UNPACKED_BYTES // 2
    spaced = packed({"outputs": [tensor("predict", [1], [1])]}, half)
    most = packed_exchange(1, half - 200)
    fits = replace(most, response=spaced, response_encoding="gzip")
    assert read_exchange(fits).outputs == {"predict": [1]}
    with pytest.raises(TooLarge):
        read_exchange(replace(fits, request=packed_exchange(1, half).request))
    with pytest.raises(TooLarge):
        read_exchange(replace(fits, request=packed_exchange(1, MAX_UNPACKED_BYTES).request))


def test_request_and_answer_together_have_so_many_values() -> None:
    assert read_exchange(packed_exchange(MAX_VALUES // 2 - 20)).n_rows == MAX_VALUES // 2 - 20
    with pytest.raises(TooLarge):
        read_exchange(packed_exchange(MAX_VALUES // 2))


def test_more_columns_than_a_row_may_have_are_unreadable() -> None:
    with pytest.raises(Unreadable):
        read_exchange(exchange(tensor("x", [1, MAX_COLUMNS], [0.0] * MAX_COLUMNS)))


def test_name_that_would_be_repeated_for_each_of_many_columns_is_short() -> None:
    assert len(read_exchange(exchange(tensor("x" * MAX_NAME, [1, 3], [0.0] * 3))).inputs) == 3
    with pytest.raises(Unreadable):
        read_exchange(exchange(tensor("x" * (MAX_NAME + 1), [1, 3], [0.0] * 3)))


def test_nan_is_a_missing_value() -> None:
    assert read_exchange(exchange(tensor("x", [1], [math.nan]))).inputs == {"x": [None]}


def test_unreadable_exchange_takes_no_other_one_along() -> None:
    large = packed_exchange(1, MAX_UNPACKED_BYTES)
    rendered = render_messages(
        deque([exchange(), exchange(request=b"odd"), large, exchange(log=RecordedPart(exclude=("x",)))])
    )
    assert rendered.dropped == {"Unreadable": 1, "TooLarge": 1}
    assert (rendered.left_out, [m.exchanges for m in rendered.messages]) == (0, [2])


def test_exchange_of_which_nothing_is_recorded_is_left_out() -> None:
    log = RecordedPart(has_outputs=False, exclude=("x",))
    rendered = render_messages(deque([exchange(log=log)]))
    assert (rendered.left_out, rendered.messages) == (1, ())


def test_each_revision_has_a_message_of_its_own() -> None:
    others = [exchange(revision="wine-b"), exchange(route=RouteKey("bank", "wine"))]
    messages = render_messages(deque([exchange(), exchange(), *others])).messages
    assert [(m.path, m.exchanges) for m in messages] == [
        ("/v1/namespaces/shop/deployments/wine/log", 2),
        ("/v1/namespaces/shop/deployments/wine/log", 1),
        ("/v1/namespaces/bank/deployments/wine/log", 1),
    ]


def many_rows() -> Exchange:
    return packed_exchange(50_000)


def many_columns() -> Exchange:
    return exchange(tensor("x" * MAX_NAME, [1, 1_000], [0] * 1_000), client="ann")


def many_letters() -> Exchange:
    text = {"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["ö" * 600_000]}]}
    return exchange(
        request=base64.b64encode(gzip.compress(json.dumps(text, ensure_ascii=False).encode())),
        request_encoding="gzip",
    )


@pytest.mark.parametrize("build", [many_rows, many_columns, many_letters])
def test_what_takes_much_memory_once_it_is_unpacked_is_written_in_parts(build) -> None:
    waiting = deque(replace(build(), prediction_id=f"p{number}") for number in range(8))
    parts = []
    while waiting:
        parts.append(render_messages(waiting))
    messages = [message for part in parts for message in part.messages]
    assert sum(message.exchanges for message in messages) == 8
    assert all(message.exchanges < 8 for message in messages)
    assert all(len(gzip.decompress(message.body)) < 2 * PART_BYTES for message in messages)


def test_ordinary_batch_is_one_part() -> None:
    waiting = deque([exchange(tensor("x", [1, 20], [0.123456789] * 20))] * 1_000)
    (message,) = render_messages(waiting).messages
    assert (message.exchanges, len(waiting)) == (1_000, 0)


def test_full_queue_drops_the_oldest_and_counts_them() -> None:
    counts = LogCounts()
    size = exchange().size_bytes
    queue = ExchangeQueue(3 * size, counts)
    for number in range(5):
        queue.put(exchange(prediction_id=f"p{number}"))
    assert queue.size_bytes == 3 * size
    assert counts.dropped == {"QueueFull": 2}
    assert [e.prediction_id for e in queue.take(2 * size)] == ["p2", "p3"]
    assert (len(queue), queue.size_bytes) == (1, size)


def test_exchange_larger_than_the_queue_leaves_the_others_there() -> None:
    counts = LogCounts()
    queue = ExchangeQueue(2 * EXCHANGE_BYTES, counts)
    queue.put(exchange())
    queue.put(exchange(request=b"x" * 2 * EXCHANGE_BYTES))
    assert (len(queue), counts.dropped) == (1, {"TooLarge": 1})


def test_batch_has_one_exchange_at_least() -> None:
    queue = ExchangeQueue(1_000_000, LogCounts())
    queue.put(exchange())
    assert len(queue.take(1)) == 1
    assert queue.take(1) == []


def message(n_bytes: int) -> Message:
    return Message(WINE, b"x" * n_bytes, 3)


def test_message_for_a_deployment_that_stays_unknown_waits_so_long() -> None:
    waiting = Strangers(60.0)
    first, second = message(10), message(20)
    waiting.put(first, 0.0)
    waiting.put(second, 30.0)
    assert (waiting.expire(59.0), waiting.exchanges, waiting.size_bytes) == ([], 6, 30)
    assert waiting.expire(60.0) == [first]
    waiting.remove(second)
    assert (waiting.messages, waiting.expire(90.0), waiting.size_bytes) == ((), [], 0)


@pytest.mark.parametrize(("n_bytes", "most"), [(MAX_BYTES // 4, 4), (1, MAX_MESSAGES)])
def test_messages_for_unknown_deployments_are_bounded_and_the_oldest_go(n_bytes, most) -> None:
    waiting = Strangers(60.0)
    messages = [message(n_bytes) for _ in range(most + 2)]
    for one in messages:
        waiting.put(one, 0.0)
    gone = waiting.expire(1.0)
    assert ([*map(id, gone)], len(waiting.messages)) == ([*map(id, messages[:2])], most)


def test_lines_that_envoy_tells_are_read_and_a_dash_is_nothing() -> None:
    told = read_told("shop/wine", "wine-a\np1\n-\n-\ngzip\n-\n-\n512")
    assert (told.route, told.revision, told.prediction_id, told.client) == (WINE, "wine-a", "p1", None)
    assert (told.is_shadow, told.request_encoding, told.response_encoding) == (False, "gzip", "")
    assert (told.request_json_bytes, told.response_json_bytes) == ("", "512")
    assert read_told("shop/wine", "wine-a\np1\nann\ntrue\n-\n-\n-\n-").client == "ann"


@pytest.mark.parametrize(
    "text", ["", "wine-a\np1", "wine-a\np1\n-\n-\n-\n-", "wine-a\np1\n-\n-\n-\n-\n-\n-\n-"]
)
def test_other_lines_are_refused(text) -> None:
    with pytest.raises(ValueError, match="unpack"):
        read_told("shop/wine", text)


def encode(number: int, *parts: bytes) -> bytes:
    """A field of protobuf with bytes in it."""
    body = b"".join(parts)
    length = len(body)
    size = bytes([length]) if length < 128 else bytes([length & 0x7F | 0x80, length >> 7])
    return bytes([number << 3 | 2]) + size + body


def test_records_of_the_access_log_are_read_whatever_else_is_in_them() -> None:
    asked = encode(6, encode(1, b"asked"), encode(2, encode(1, b"x" * 200)))
    empty = encode(6, encode(1, b"told"))
    noise = bytes([2 << 3, 0x96, 0x01]) + bytes([8 << 3 | 5]) + b"1234" + encode(9, b"trace")
    time = bytes([1 << 3 | 1]) + (1_500_000_000).to_bytes(8, "little")
    record = encode(2, noise, time, asked, empty)
    message = encode(1, encode(1, b"resource"), encode(2, encode(1, b"scope"), record, record))
    got = list(read_records(message))
    assert got == [Record(1.5, {"asked": b"x" * 200, "told": b""})] * 2


@pytest.mark.parametrize("message", [b"\x0a\x05ab", b"\x0b", b"\x80" * 11, b"\xff"])
def test_bytes_that_are_no_message_are_malformed(message) -> None:
    with pytest.raises(Malformed):
        list(read_records(message))
