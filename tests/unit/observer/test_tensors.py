"""Log bodies with tensors: what is read of sound ones, and what is said of others."""

import numpy as np
import orjson
import pytest
from perennial_observer.api.tensors import read_tensors
from perennial_observer.errors import InvalidRequest
from safetensors.numpy import save


def build(document, **tensors):
    body = np.frombuffer(orjson.dumps(document), np.uint8)
    return save({"body": body, **{name.replace("__", "/"): values for name, values in tensors.items()}})


def group(**inputs):
    return {"groups": [{"inputs": inputs, "outputs": {}}]}


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (np.array([1.5, np.nan, np.inf]), [1.5, None, np.inf]),
        (np.array([[0.25, -np.inf], [np.nan, 1.0]]), [[0.25, -np.inf], [None, 1.0]]),
        (np.array([0.1, np.nan, -np.inf], np.float32), [0.1, None, -np.inf]),
        (np.array([0.5], np.float16), [0.5]),
        (np.array([True, False]), [True, False]),
        (np.array([2**63 - 1]), [2**63 - 1]),
        (np.array([255], np.uint8), [255]),
        (np.array([], np.float64), []),
    ],
    ids=lambda values: getattr(values, "dtype", np.dtype(object)).str,
)
def test_a_column_is_read_as_json_would_have_brought_it(values, want):
    got = read_tensors(build(group(a=[1], x=None, z=[2]), **{"0__inputs__x": values}))
    assert got == group(a=[1], x=want, z=[2])
    assert list(got["groups"][0]["inputs"]) == ["a", "x", "z"]


@pytest.mark.parametrize(
    "document", [[], {}, {"groups": 5}, {"groups": [1, {"inputs": 3}]}, {"groups": None}]
)
def test_a_document_of_another_form_is_left_to_the_schema(document):
    assert read_tensors(build(document)) == document


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not safetensors"),
        (b"{}", "not safetensors"),
        (build(group())[:-1], "not safetensors"),
        (b"\xff" * 64, "not safetensors"),
        (save({"x": np.zeros(1)}), "no tensor 'body'"),
        (save({"body": np.zeros(1)}), "no tensor 'body'"),
        (build(group(x=None)), "0/inputs/x: is null, but there is no tensor"),
        (build(group(x=None), **{"0__inputs__x": np.zeros((1, 1, 1))}), "of 1 or 2 dimensions"),
        (build(group(x=[1]), **{"0__inputs__x": np.zeros(1)}), "no column is null for tensor '0/inputs/x'"),
        (build(group(), **{"1__inputs__x": np.zeros(1)}), "no column is null for tensor '1/inputs/x'"),
    ],
)
def test_a_body_at_fault_is_refused_with_what_is_wrong(body, message):
    with pytest.raises(InvalidRequest, match=message):
        read_tensors(body)


def test_json_at_fault_is_json_at_fault():
    with pytest.raises(orjson.JSONDecodeError):
        read_tensors(save({"body": np.frombuffer(b"{", np.uint8)}))
