"""Malformed requests against a real server: each is the client's fault, in the protocol's words, and none costs memory."""

import gzip
import json
import struct
import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from .conftest import INFER, build_request, read_metric

MAX_GROWTH_BYTES = 30e6
JSON_TYPE = {"content-type": "application/json"}
VALID = json.dumps(build_request()).encode()
mutate = settings(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def http(shared_server):
    with httpx.Client(base_url=shared_server.url, timeout=60) as client:
        yield client


def change(index=0, **changes):
    """A request of which one tensor is changed; a change to ... takes the field away."""
    request = build_request(2)
    tensor = request["inputs"][index] | changes
    request["inputs"][index] = {name: value for name, value in tensor.items() if value is not ...}
    return json.dumps(request).encode()


def ask(**more):
    return json.dumps(build_request(2, **more)).encode()


def build_binary(raw, *, datatype="FP64", shape=(2,), index=0, json_bytes=None, **parameters):
    """A request of which one tensor is raw, and its headers."""
    request = build_request(2)
    tensor = request["inputs"][index]
    del tensor["data"]
    tensor |= {
        "datatype": datatype,
        "shape": list(shape),
        "parameters": {"binary_data_size": len(raw)} | parameters,
    }
    head = json.dumps(request).encode()
    length = len(head) if json_bytes is None else json_bytes
    return head + raw, {"inference-header-content-length": str(length)}


RAW = np.array([1.0, 2.0]).tobytes()
PLAIN = {
    "no body": b"",
    "white space": b" \n ",
    "half of it": VALID[:-20],
    "twice": VALID * 2,
    "something behind it": VALID + b"x",
    "a byte order mark": b"\xef\xbb\xbf" + VALID,
    "UTF-16": VALID.decode().encode("utf-16"),
    "not unicode": b"\xff\x00\xfe",
    "NUL bytes": bytes(1000),
    "a NUL byte in a name": VALID.replace(b"wind", b"wi\0nd"),
    "a NUL escaped in a name": VALID.replace(b"wind", b"wi\\u0000nd"),
    "invalid UTF-8 in a value": VALID.replace(b"AA", b"A\xff"),
    "overlong UTF-8": VALID.replace(b"AA", b"\xc0\xaf"),
    "a surrogate in UTF-8": VALID.replace(b"AA", b"\xed\xa0\x80"),
    "half a character in a name": b'{"inputs":[{"name":"\\ud800","shape":[1],"datatype":"FP64","data":[1]}]}',
    "half a character in a value": VALID.replace(b'"AA"', b'"\\udfff"'),
    "half a character in the id": b'{"id":"\\ud83d",' + VALID[1:],
    "a pickle": b"\x80\x04\x95\x00",
    "a zip": b"PK\x03\x04" + bytes(100),
    "XML": b"<inputs/>",
    "single quotes": VALID.replace(b'"', b"'"),
    "a comment": VALID.replace(b"{", b"{/* */", 1),
    "a trailing comma": VALID[:-1] + b",}",
    "NaN": VALID.replace(b"0.0", b"NaN", 1),
    "Infinity": VALID.replace(b"0.0", b"Infinity", 1),
    "minus infinity": VALID.replace(b"0.0", b"-Infinity", 1),
    "a hexadecimal number": VALID.replace(b"0.0", b"0x10", 1),
    "a number with a leading zero": VALID.replace(b"0.0", b"00.0", 1),
    "a number beyond a double": VALID.replace(b"0.0", b"1e999", 1),
    "a number of 100,000 digits": VALID.replace(b"0.0", b"9" * 100_000, 1),
    "deep nesting": b'{"inputs":' + b"[" * 200_000,
    "deep nesting, closed": b'{"inputs":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep objects": b'{"a":' * 100_000,
    "deep data": change(data=json.loads("[" * 500 + "]" * 500)),
    "null": b"null",
    "a number": b"1",
    "a string": b'"inputs"',
    "an array": b"[1]",
    "an empty object": b"{}",
    "no inputs": b'{"inputs": []}',
    "null inputs": b'{"inputs": null}',
    "inputs by name": b'{"inputs": {"wind": [1.0]}}',
    "an input that is a string": b'{"inputs": ["wind"]}',
    "an input that is null": b'{"inputs": [null]}',
    "10,000 inputs": json.dumps({"inputs": [{}] * 10_000}).encode(),
    "a key given twice, the last of them wrong": VALID[:-1] + b', "inputs": []}',
    "wrong types": b'{"inputs": [{"name": [], "shape": {}, "datatype": 1, "data": "x"}]}',
    "no name": change(name=...),
    "an empty name": change(name=""),
    "a name of a million characters": change(name="x" * 500_000),
    "an unknown name": change(name="windd"),
    "a name given twice": change(1, name="wind", datatype="FP64", data=[1.0, 2.0]),
    "a name in another case": change(name="Wind"),
    "no shape": change(shape=...),
    "an empty shape": change(shape=[]),
    "a shape that is a number": change(shape=2),
    "a shape of strings": change(shape=["2"]),
    "a shape of fractions": change(shape=[2.5]),
    "a shape of truth values": change(shape=[True]),
    "a shape of null": change(shape=[None]),
    "negative shape": change(shape=[-2]),
    "two negative sizes": change(shape=[-2, -1]),
    "huge shape": change(shape=[2**31]),
    "a shape whose product is huge": change(shape=[2, 2**31, 2**31, 2**31]),
    "overflowing shape": change(shape=[2**80]),
    "a shape of many dimensions": change(shape=[1] * 10_000),
    "shape and data differ": change(shape=[3]),
    "zero rows": change(shape=[0], data=[]),
    "zero columns": change(shape=[2, 0], data=[]),
    "a wide column": change(shape=[1, 2]),
    "fewer rows than the others": change(shape=[1], data=[1.0]),
    "no datatype": change(datatype=...),
    "wrong datatype": change(datatype="BYTES"),
    "unknown datatype": change(datatype="FP8"),
    "a datatype in small letters": change(datatype="fp64"),
    "a datatype that is a list": change(datatype=["FP64"]),
    "an integer column with a fraction": change(datatype="INT32", data=[1.5, 2]),
    "an integer that does not fit": change(datatype="INT8", data=[1, 128]),
    "a negative that has no sign": change(datatype="UINT16", data=[1, -1]),
    "an integer beyond 64 bits": change(datatype="INT64", data=[1, 2**64]),
    "an integer far beyond 64 bits": change(datatype="UINT64", data=[1, 10**40]),
    "no data": change(data=...),
    "null data": change(data=None),
    "data that is text": change(data="AAAAAAAA"),
    "data that is an object": change(data={"0": 1.0}),
    "text for a number": change(data=["fast", "slow"]),
    "digits as text": change(data=["1", "2"]),
    "a boolean for a number": change(data=[True, False]),
    "an object for a number": change(data=[{}, {}]),
    "a list for a number": change(data=[1.0, [2.0]]),
    "null for a number": change(data=[1.0, None]),
    "ragged rows": change(shape=[2, 1], data=[[1.0], []]),
    "rows nested too deep": change(shape=[2, 1], data=[[[1.0]], [[2.0]]]),
    "a number for text": change(1, data=[1, 2]),
    "a list for text": change(1, data=[["A"], "B"]),
    "a text of 100,000 characters": change(1, data=["x" * 100_000, "y"]),
    "null for a time": change(2, data=[None, None]),
    "no time": change(2, data=["noon", "midnight"]),
    "a time that overflows": change(2, data=["99999-01-01", "2013-13-45"]),
    "input parameters that are a list": change(parameters=[1]),
    "an input parameter that is an object": change(parameters={"a": {}}),
    "shared memory": change(
        data=..., parameters={"shared_memory_region": "x", "shared_memory_byte_size": 16}
    ),
    "an id that is a number": ask(id=1),
    "an id that is too long": ask(id="x" * 2000),
    "parameters that are a string": ask(parameters="x"),
    "a parameter that is null": ask(parameters={"k": None}),
    "binary_data_output that is text": ask(parameters={"binary_data_output": "yes"}),
    "an unknown output": ask(outputs=[{"name": "x"}]),
    "an output given twice": ask(outputs=[{"name": "predict"}] * 2),
    "outputs by name": ask(outputs={"predict": {}}),
    "an output that is a string": ask(outputs=["predict"]),
    "an output without a name": ask(outputs=[{}]),
    "an output with a name that is a list": ask(outputs=[{"name": ["predict"]}]),
    "1,000 outputs": ask(outputs=[{"name": f"o{i}"} for i in range(1000)]),
    "binary_data that is a number": ask(outputs=[{"name": "predict", "parameters": {"binary_data": 1}}]),
    "classification": ask(outputs=[{"name": "predict", "parameters": {"classification": 2}}]),
    "too many rows": json.dumps(build_request(10_001)).encode(),
}
OTHER = {
    "raw, one byte short": (*build_binary(RAW[:-1]), 400),
    "raw, one value too many": (*build_binary(RAW + RAW[:8]), 400),
    "raw, for a huge shape": (*build_binary(RAW, shape=[2**31, 2**31]), 400),
    "raw, for a negative shape": (*build_binary(RAW, shape=[-1, -2]), 400),
    "raw, for no rows": (*build_binary(b"", shape=[0]), 400),
    "raw, with another datatype": (*build_binary(RAW, datatype="FP32"), 400),
    "raw, with an unknown datatype": (*build_binary(RAW, datatype="BF16"), 400),
    "raw, a size beyond the body": (*build_binary(RAW, binary_data_size=10**6), 400),
    "raw, a size beyond 64 bits": (*build_binary(RAW, binary_data_size=2**64 - 1), 400),
    "raw, a negative size": (*build_binary(RAW, binary_data_size=-16), 400),
    "raw, a size that is text": (*build_binary(RAW, binary_data_size="16"), 400),
    "raw, a size that is a fraction": (*build_binary(RAW, binary_data_size=16.5), 400),
    "raw, a size that is true": (*build_binary(RAW, binary_data_size=True), 400),
    "raw, infinities": (*build_binary(np.array([np.inf, -np.inf]).tobytes()), 400),
    "raw, a NaN where nothing may be missing": (*build_binary(np.array([1.0, np.nan]).tobytes()), 400),
    "raw, the JSON cut": (*build_binary(RAW, json_bytes=100), 400),
    "raw, the JSON empty": (*build_binary(RAW, json_bytes=0), 400),
    "raw, the JSON beyond the body": (*build_binary(RAW, json_bytes=10**9), 400),
    "raw, the JSON's length negative": (*build_binary(RAW, json_bytes=-1), 400),
    "raw, the JSON's length text": (*build_binary(RAW, json_bytes="all"), 400),
    "raw, the JSON's length in 5,000 digits": (*build_binary(RAW, json_bytes="9" * 5000), 400),
    "raw, without the header": (build_binary(RAW)[0], JSON_TYPE, 400),
    "raw, beside data": (change(parameters={"binary_data_size": 16}), JSON_TYPE, 400),
    "raw, strings whose length overruns": (
        *build_binary(b"\xff\xff\xff\xffab" * 2, datatype="BYTES", index=1),
        400,
    ),
    "raw, strings cut within a length": (*build_binary(b"\1\0\0\0a\1\0\0", datatype="BYTES", index=1), 400),
    "raw, strings that aren't UTF-8": (
        *build_binary(b"\1\0\0\0\xff\1\0\0\0a", datatype="BYTES", index=1),
        400,
    ),
    "raw, one string too many": (*build_binary(b"\1\0\0\0a" * 3, datatype="BYTES", index=1), 400),
    "raw, 2**31 strings": (*build_binary(b"\0\0\0\0" * 2, datatype="BYTES", index=1, shape=[2**31]), 400),
    "octet-stream without the header": (VALID, {"content-type": "application/octet-stream"}, 415),
    "a form": (b"a=b", {"content-type": "application/x-www-form-urlencoded"}, 415),
    "a form with files": (VALID, {"content-type": "multipart/form-data; boundary=x"}, 415),
    "text": (VALID, {"content-type": "text/plain"}, 415),
    "CSV": (b"wind\n1.0\n", {"content-type": "text/csv"}, 415),
    "almost JSON": (VALID, {"content-type": "application/jsonx"}, 415),
    "protobuf": (b"\x0a\x07flights", {"content-type": "application/grpc"}, 415),
    "brotli": (VALID, {"content-encoding": "br"}, 415),
    "packed twice": (gzip.compress(gzip.compress(VALID)), {"content-encoding": "gzip, gzip"}, 415),
    "gzip that isn't": (VALID, {"content-encoding": "gzip"}, 400),
    "gzip cut short": (gzip.compress(VALID)[:-9], {"content-encoding": "gzip"}, 400),
    "gzip with a wrong checksum": (gzip.compress(VALID)[:-8] + bytes(8), {"content-encoding": "gzip"}, 400),
    "gzip of nothing": (gzip.compress(b""), {"content-encoding": "gzip"}, 400),
    "gzip many times over": (gzip.compress(b"") * 20_000, {"content-encoding": "gzip"}, 400),
    "deflate that isn't": (VALID, {"content-encoding": "deflate"}, 400),
    "a zip bomb": (gzip.compress(bytes(200_000_000)), {"content-encoding": "gzip"}, 413),
    "a zip bomb by deflate": (zlib.compress(bytes(200_000_000)), {"content-encoding": "deflate"}, 413),
    "a body too large": (b"x" * 1_000_001, JSON_TYPE, 413),
}
HAND_MADE = {name: (body, JSON_TYPE, 400) for name, body in PLAIN.items()} | OTHER


def send(http, body, headers, want):
    got = http.post(INFER, content=body, headers=headers)
    assert got.status_code == want, got.text
    assert list(got.json()) == ["error"]
    assert 5 < len(got.json()["error"]) < 1000
    assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_malformed_request_is_a_4xx_with_a_v2_error_body(http, name):
    send(http, *HAND_MADE[name])


@mutate
@given(st.integers(0, len(VALID) - 1))
def test_a_request_cut_anywhere_is_refused(http, end):
    send(http, VALID[:end], JSON_TYPE, 400)


@mutate
@given(st.integers(0, len(VALID)), st.sampled_from([0, 1, 8, 0x1F, 0x80, 0xC0, 0xED, 0xFE, 0xFF]))
def test_a_request_with_a_foreign_byte_anywhere_is_refused(http, at, byte):
    send(http, VALID[:at] + bytes([byte]) + VALID[at:], JSON_TYPE, 400)


@mutate
@given(st.binary(max_size=2000))
def test_noise_is_refused(http, body):
    send(http, body, JSON_TYPE, 400)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@mutate
@given(st.sampled_from(["name", "shape", "datatype"]), JSON)
def test_a_field_that_is_something_else_is_refused(http, field, value):
    assume(value not in ([2], [2, 1]))
    send(http, change(**{field: value}), JSON_TYPE, 400)


@mutate
@given(JSON, JSON)
def test_data_that_is_something_else_is_refused(http, first, second):
    assume(isinstance(first, bool) or not isinstance(first, int | float))
    send(http, change(data=[first, second]), JSON_TYPE, 400)


@mutate
@given(JSON)
def test_inputs_that_are_something_else_are_refused(http, value):
    send(http, json.dumps({"inputs": value}).encode(), JSON_TYPE, 400)


@mutate
@given(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70))
def test_raw_lengths_that_lie_are_refused(http, size, json_bytes):
    body, headers = build_binary(RAW)
    right = int(headers["inference-header-content-length"])
    if size != len(RAW):
        send(http, *build_binary(RAW, binary_data_size=size), 400)
    if json_bytes != right:
        send(http, body, {"inference-header-content-length": str(json_bytes)}, 400)


@mutate
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=9)), max_size=4))
def test_raw_strings_whose_lengths_lie_are_refused(http, parts):
    assume(len(parts) != 2 or any(length != len(text) for length, text in parts))
    raw = b"".join(struct.pack("<I", length) + text for length, text in parts)
    send(http, *build_binary(raw, datatype="BYTES", index=1), 400)


def read_rss_bytes(server):
    for line in Path(f"/proc/{server.popen.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def test_memory_stays_flat_whatever_is_sent(http, shared_server):
    def send_all(times):
        for _ in range(times):
            for body, headers, want in HAND_MADE.values():
                send(http, body, headers, want)

    send_all(2)
    before = read_rss_bytes(shared_server)
    send_all(4)
    assert read_rss_bytes(shared_server) - before < MAX_GROWTH_BYTES


def test_the_server_is_well_after_all_of_it_and_none_was_a_500(http, shared_server):
    assert http.post(INFER, json=build_request()).status_code == 200
    codes = [line for line in http.get("/metrics").text.splitlines() if 'requests_total{code="5' in line]
    assert codes == []
    assert read_metric(shared_server, "perennial_server_model_errors_total") == 0
