"""Reading the MessagePack that Envoy's access logger writes."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perennial_gateway.fluentd import MOST_BYTES, Malformed, RecordReader

# As Envoy 1.40 sent it: one message of two records.
SENT = (
    b"\x92\xa1u\x92"
    b"\x92\xcek\x0c\xf2Q\x84\xa1c\xa6shop/a\xa1k\xa2u1\xa1r\xaeshop/wine:salt\xa1s\xcc\xc8"
    b"\x92\xcek\x0c\xf2Q\x84\xa1c\xa6shop/a\xa1k\xc0\xa1r\xaeshop/wine:salt\xa1s\xcd\x01\xf7"
)
WANT = [
    {"c": "shop/a", "k": "u1", "r": "shop/wine:salt", "s": 200},
    {"c": "shop/a", "k": None, "r": "shop/wine:salt", "s": 503},
]


def pack(value) -> bytes:
    """Encode in the longest forms, which Envoy uses for what is large."""
    match value:
        case None | bool():
            return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
        case int():
            packed = b"\xd3" + struct.pack(">q", value)
        case float():
            packed = b"\xcb" + struct.pack(">d", value)
        case str():
            packed = b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode()
        case list():
            packed = b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(pack, value))
        case dict():
            pairs = (pack(k) + pack(v) for k, v in value.items())
            packed = b"\xdf" + struct.pack(">I", len(value)) + b"".join(pairs)
    return packed


def test_what_envoy_sends_is_read() -> None:
    assert list(RecordReader().feed(SENT)) == WANT


@given(st.lists(st.integers(1, 2 * len(SENT) - 1), max_size=6))
def test_cuts_in_the_stream_change_nothing(cuts) -> None:
    stream, reader = SENT + SENT, RecordReader()
    edges = [0, *sorted(cuts), len(stream)]
    got = [r for a, b in pairwise(edges) for r in reader.feed(stream[a:b])]
    assert got == WANT + WANT


scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
)
records = st.dictionaries(st.text(), st.recursive(scalars, st.lists, max_leaves=5))


@given(st.lists(records, max_size=5))
def test_every_value_comes_back(want) -> None:
    message = pack(["tag", [[1, record] for record in want]])
    assert list(RecordReader().feed(message)) == want


@pytest.mark.parametrize("value", [-1, -32, 0, 127])
def test_small_numbers_stand_for_themselves(value) -> None:
    message = b"\x92\xa1t\x91\x92\x00\x81\xa1n" + struct.pack(">b", value)
    assert list(RecordReader().feed(message)) == [{"n": value}]


@pytest.mark.parametrize(
    "data", [b"\xc1", b"\x01", pack(["tag", [1]]), pack(["tag"]), pack([1, []]), pack(["tag", [[1, "x"]]])]
)
def test_anything_else_is_refused(data) -> None:
    with pytest.raises(Malformed):
        list(RecordReader().feed(data))


def test_endless_message_is_refused_before_it_fills_the_memory() -> None:
    reader = RecordReader()
    head = b"\xdb" + struct.pack(">I", 2**32 - 1)
    with pytest.raises(Malformed):
        list(reader.feed(head + bytes(MOST_BYTES + 1)))
