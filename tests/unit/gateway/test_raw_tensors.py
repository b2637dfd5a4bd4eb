"""Exchanges whose tensors come as bytes behind the JSON, as Triton's client sends them."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from perennial_gateway.prediction_log.exchanges import Exchange
from perennial_gateway.prediction_log.raw import read_raw
from perennial_gateway.prediction_log.reading import MAX_VALUES, TooLarge, read_exchange
from perennial_gateway.prediction_log.tensors import Unreadable
from tritonclient import utils

from tests.unit.gateway.test_prediction_log import exchange

DATATYPES = {
    "BOOL": [True, False, True],
    "UINT8": [0, 255, 7],
    "UINT16": [0, 65535, 7],
    "UINT32": [0, 2**32 - 1, 7],
    "UINT64": [0, 2**63 - 1, 7],
    "INT8": [-128, 127, 7],
    "INT16": [-(2**15), 2**15 - 1, 7],
    "INT32": [-(2**31), 2**31 - 1, 7],
    "INT64": [-(2**63), 2**63 - 1, 7],
    "FP16": [-0.5, 1024.0, 7.25],
    "FP32": [-0.5, 2.0**100, 7.25],
    "FP64": [-0.1, 1e300, 7.25],
    "BYTES": ["", "grün", "a\x00b"],
}


def to_bytes(datatype: str, values: list[Any]) -> bytes:
    """As Triton's client writes them."""
    if datatype == "BYTES":
        return bytes(utils.serialize_byte_tensor(np.array([v.encode() for v in values], dtype=object)).item())
    return np.array(values, dtype=utils.triton_to_np_dtype(datatype)).tobytes()


def raw_exchange(
    *tensors: tuple[str, list[int], bytes], more: bytes = b"", encoding: str = "", **fields: Any
) -> Exchange:
    """One whose inputs are raw: datatype, shape and bytes of each."""
    inputs = [
        {
            "name": f"x{i}",
            "shape": shape,
            "datatype": datatype,
            "parameters": {"binary_data_size": len(data)},
        }
        for i, (datatype, shape, data) in enumerate(tensors)
    ]
    text = json.dumps({"inputs": inputs}).encode()
    body = b"".join([text, *(data for _, _, data in tensors), more])
    body = gzip.compress(body) if encoding else body
    one = exchange(outputs=[{"name": "p", "shape": [1], "data": [1]}])
    values = {
        "request": base64.b64encode(body),
        "request_encoding": encoding,
        "request_json_bytes": str(len(text)),
    }
    return replace(one, **(values | fields))


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_each_datatype_is_read_as_it_was_written(datatype, encoding) -> None:
    values = DATATYPES[datatype]
    got = read_exchange(
        raw_exchange(
            (datatype, [1, 3], to_bytes(datatype, values)), ("INT8", [1], b"\x05"), encoding=encoding
        )
    )
    assert got.inputs == {**{f"x0.{i}": [value] for i, value in enumerate(values)}, "x1": [5]}


def test_answers_may_be_raw_and_mixed_with_others() -> None:
    outputs = [
        {"name": "p", "shape": [2], "datatype": "INT64", "data": [1, 0]},
        {"name": "q", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}},
    ]
    text = json.dumps({"outputs": outputs}).encode()
    body = text + to_bytes("FP32", [0.25, 0.75, 0.5, 0.5])
    got = read_exchange(
        exchange(
            {"name": "x", "shape": [2], "data": [1, 2]},
            response=base64.b64encode(body),
            response_json_bytes=str(len(text)),
        )
    )
    assert got.outputs == {"p": [1, 0], "q": [[0.25, 0.75], [0.5, 0.5]]}


def test_nan_is_a_missing_value() -> None:
    got = read_exchange(raw_exchange(("FP32", [1], to_bytes("FP32", [np.nan]))))
    assert got.inputs == {"x0": [None]}


@pytest.mark.parametrize(
    ("tensors", "fields"),
    [
        ([("FP64", [1], bytes(7))], {}),
        ([("FP64", [2], bytes(8))], {}),
        ([("FP64", [1], bytes(8))], {"more": b"\x00"}),
        ([("FP64", [1], to_bytes("FP64", [np.inf]))], {}),
        ([("UINT64", [1], b"\xff" * 8)], {}),
        ([("BF16", [1], bytes(2))], {}),
        ([("BYTES", [1], b"\x02\x00\x00\x00a")], {}),
        ([("BYTES", [1], b"\x01\x00")], {}),
        ([("BYTES", [2], b"\x01\x00\x00\x00a")], {}),
        ([("BYTES", [1], b"\x01\x00\x00\x00a" * 2)], {}),
        ([("BYTES", [1], b"\x01\x00\x00\x00\xff")], {}),
        ([("INT8", [1], b"\x01")], {"request_json_bytes": "9999"}),
        ([("INT8", [1], b"\x01")], {"request_json_bytes": "-1"}),
        ([("INT8", [1], b"\x01")], {"request_json_bytes": "²"}),
        ([("INT8", [1], b"\x01")], {"request_json_bytes": "10"}),
        ([("INT8", [-1], b"")], {}),
    ],
)
def test_bytes_that_are_not_the_tensors_are_unreadable(tensors, fields) -> None:
    with pytest.raises(Unreadable):
        read_exchange(raw_exchange(*tensors, **fields))


def test_sizes_that_are_more_than_there_is_are_unreadable() -> None:
    good = raw_exchange(("INT8", [1], b"\x01"))
    body = base64.b64decode(good.request).replace(b'"binary_data_size": 1', b'"binary_data_size": 9')
    with pytest.raises(Unreadable):
        read_exchange(replace(good, request=base64.b64encode(body)))


def test_raw_values_count_before_they_are_made() -> None:
    most = MAX_VALUES - 30
    one = raw_exchange(("BOOL", [1, 1000], bytes(1000)))
    assert len(read_exchange(one).inputs) == 1000
    with pytest.raises(TooLarge):
        read_exchange(raw_exchange(("BOOL", [MAX_VALUES], bytes(MAX_VALUES))))
    rows = replace(
        raw_exchange(("BOOL", [most], bytes(most))),
        response=json.dumps({"outputs": [{"name": "p", "shape": [most], "data": []}]}).encode(),
    )
    with pytest.raises(Unreadable):
        read_exchange(rows)


@pytest.mark.parametrize("datatype", ["FP64", "BYTES"])
def test_raw_values_are_reckoned_with_what_they_take_as_json(datatype) -> None:
    values = [-1.2345678901234567e-300] * 100 if datatype == "FP64" else ["\x01"] * 100
    got = read_exchange(raw_exchange((datatype, [1, 100], to_bytes(datatype, values))))
    assert len(json.dumps(got.inputs)) <= got.size_bytes


def test_no_values_are_none() -> None:
    assert read_raw("FP64", b"", 0) == []
    assert read_raw("BYTES", b"", 0) == []
