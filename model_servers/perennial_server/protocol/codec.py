"""The Open Inference Protocol v2's request and answer, as JSON.

Pure: bytes in, columns out; arrays in, bytes out. Every fault of a request is a RequestError that names the field.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from perennial_bundle import Column, Outputs, Schema
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from perennial_server.errors import RequestError
from perennial_server.origin import Origin

INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
FLOATS = frozenset({"FP16", "FP32", "FP64"})
ACCEPTED: Mapping[str, frozenset[str]] = {
    "BOOL": frozenset({"BOOL"}),
    "INT64": INTEGERS,
    "FP32": FLOATS | INTEGERS,
    "FP64": FLOATS | INTEGERS,
    "BYTES": frozenset({"BYTES"}),
}
# What FP64 is to JSON is the same for all floats, so that a client may name any of them.

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Parameters = dict[str, bool | int | float | str]
Size = Annotated[int, Field(ge=0, le=2**31)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class Tensor(_Strict):
    """One input."""

    name: Name
    shape: Annotated[list[Size], Field(min_length=1, max_length=4)]
    datatype: Literal[
        "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64",
        "FP16", "FP32", "FP64", "BYTES",
    ]  # fmt: skip
    data: list[Any]
    parameters: Parameters | None = None


class RequestedOutput(_Strict):
    """One output that the client wants."""

    name: Name
    parameters: Parameters | None = None


class InferRequest(_Strict):
    """An inference request."""

    id: Annotated[str, StringConstraints(max_length=1024)] | None = None
    parameters: Parameters | None = None
    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=8192)]
    outputs: Annotated[list[RequestedOutput], Field(max_length=64)] | None = None


@dataclass(frozen=True)
class Query:
    """What a request asks: rows as columns, and which outputs."""

    id: str | None
    parameters: Parameters | None
    columns: dict[str, list[Any]]
    outputs: tuple[str, ...]


def parse_request(body: bytes, schema: Schema, *, max_rows: int) -> Query:
    """Read an inference request against the model's schema.

    Inputs are one tensor of shape (n,) or (n, 1) for each column, or, where all features have one numeric datatype,
    one tensor of shape (n, n_features) under a name that isn't a column's; event time and passthrough columns may
    stand beside it.

    Raises
    ------
    RequestError
        Status 400.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"the body isn't JSON: {error}") from error
    try:
        request = InferRequest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the body"
        raise RequestError(400, f"{field[:256]}: {first['msg']}") from error
    known = [column.name for column in schema.outputs]
    wanted = [output.name for output in request.outputs or ()]
    for name in wanted:
        if name not in known:
            raise RequestError(400, f"outputs: {name!r} isn't an output; the outputs are {', '.join(known)}")
    if len(set(wanted)) != len(wanted):
        raise RequestError(400, "outputs: an output is named twice")
    columns: dict[str, list[Any]] = {}
    for tensor in request.inputs:
        _check_rows(tensor, max_rows)
        for name, values in _read_tensor(tensor, schema).items():
            if name in columns:
                raise RequestError(400, f"{name}: is given twice in inputs")
            columns[name] = values
    return Query(request.id, request.parameters, columns, tuple(wanted or known))


def _check_rows(tensor: Tensor, max_rows: int) -> None:
    if tensor.shape[0] > max_rows:
        raise RequestError(
            400, f"{tensor.name}: has {tensor.shape[0]} rows; at most {max_rows} are allowed at once"
        )
    if tensor.shape[0] == 0:
        raise RequestError(400, f"{tensor.name}: needs at least one row")


def _read_tensor(tensor: Tensor, schema: Schema) -> dict[str, list[Any]]:
    column = schema.by_name.get(tensor.name)
    if column is not None:
        if tensor.shape[1:] not in ([], [1]):
            raise RequestError(400, f"{tensor.name}: has shape {tensor.shape}; it has to be [n] or [n, 1]")
        _check_datatype(tensor, column)
        return {tensor.name: _flatten(tensor)}
    features = schema.features
    datatypes = {feature.datatype for feature in features}
    if len(tensor.shape) != 2 or len(datatypes) != 1 or "BYTES" in datatypes:  # noqa: PLR2004
        raise RequestError(400, f"{tensor.name}: isn't an input; the inputs are {', '.join(schema.by_name)}")
    if tensor.shape[1] != len(features):
        raise RequestError(
            400,
            f"{tensor.name}: has shape {tensor.shape}; the model has {len(features)} features: [n, {len(features)}]",
        )
    _check_datatype(tensor, features[0])
    flat = _flatten(tensor)
    return {feature.name: flat[i :: len(features)] for i, feature in enumerate(features)}


def _check_datatype(tensor: Tensor, column: Column) -> None:
    if tensor.datatype not in ACCEPTED[column.datatype]:
        raise RequestError(
            400, f"{tensor.name}: has datatype {tensor.datatype}; the model wants {column.datatype}"
        )


def _flatten(tensor: Tensor) -> list[Any]:
    """Bring flat or nested data, row by row, into one list of the size that the shape says."""
    data = tensor.data
    if data and isinstance(data[0], list):
        for size in tensor.shape[:-1]:
            if len(data) != size or not all(isinstance(part, list) for part in data):
                raise RequestError(400, f"{tensor.name}: data isn't nested as shape {tensor.shape} says")
            width = tensor.shape[-1]
            if any(len(part) != width for part in data):
                raise RequestError(400, f"{tensor.name}: data has rows of a length other than {width}")
            data = [value for part in data for value in part]
    want = math.prod(tensor.shape)
    if len(data) != want:
        raise RequestError(
            400, f"{tensor.name}: data has {len(data)} values; shape {tensor.shape} says {want}"
        )
    if tensor.datatype in INTEGERS:
        for index, value in enumerate(data):
            if (
                type(value) is not int
                and value is not None
                and not (type(value) is float and value.is_integer())
            ):
                raise RequestError(400, f"{tensor.name}: value {index} isn't {tensor.datatype}")
    return data


def render_answer(
    outputs: Outputs, schema: Schema, query: Query, *, model_name: str, model_version: str
) -> bytes:
    """Write the answer to a request: the outputs it asked for, in its order."""
    datatypes = {column.name: column.datatype for column in schema.outputs}
    answer: dict[str, Any] = {"model_name": model_name, "model_version": model_version}
    if query.id is not None:
        answer["id"] = query.id
    if query.parameters is not None:
        answer["parameters"] = query.parameters
    answer["outputs"] = [
        {
            "name": name,
            "shape": list(outputs[name].shape),
            "datatype": datatypes[name],
            "data": outputs[name].ravel().tolist(),
        }
        for name in query.outputs
    ]
    return orjson.dumps(answer)


def render_error(message: str) -> bytes:
    """Write a v2 error body."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode("utf-8")})


def describe_model(schema: Schema, *, name: str, version: str, n_classes: int | None) -> dict[str, Any]:
    """Describe the model, as the protocol's model metadata."""

    def describe(column: Column) -> dict[str, Any]:
        many = column.name == "probability" and n_classes is not None and n_classes > 2  # noqa: PLR2004
        return {"name": column.name, "datatype": column.datatype, "shape": [-1, n_classes] if many else [-1]}

    return {
        "name": name,
        "versions": [version],
        "platform": "sklearn_skops",
        "inputs": [describe(column) for column in schema.inputs],
        "outputs": [describe(column) for column in schema.outputs],
    }


def render_log_entry(
    origin: Origin,
    time_s: float,
    inputs: Mapping[str, list[Any]],
    outputs: Outputs,
    exclude: frozenset[str],
) -> bytes:
    """Write one entry of the prediction log; see the observer's ``POST /v1/log``."""
    entry = {
        "prediction_id": origin.prediction_id,
        "time": time_s,
        "inputs": {name: values for name, values in inputs.items() if name not in exclude},
        "outputs": {name: np.asarray(values).tolist() for name, values in outputs.items()},
    }
    if origin.client is not None:
        entry["client"] = origin.client
    if origin.is_shadow:
        entry["shadow"] = True
    return orjson.dumps(entry)
