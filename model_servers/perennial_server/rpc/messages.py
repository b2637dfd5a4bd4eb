"""The protocol's gRPC messages: a request in, a query out; outputs in, an answer out. Pure.

A request carries its tensors raw (as tritonclient does) or typed, never both; the answer takes the form of the request.
Every fault of a request is a RequestError that names the field.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError, Message
from perennial_bundle import Flag, Outputs, Schema

from perennial_server.errors import RequestError
from perennial_server.protocol.answers import render_flags
from perennial_server.protocol.datatypes import DATATYPES, MAX_NAME
from perennial_server.protocol.query import MAX_WISHES, UNSUPPORTED, Query, Wish, Wishes
from perennial_server.protocol.requests import MAX_ID
from perennial_server.protocol.tensors import Tensor, build_rows, decode_raw, encode_raw
from perennial_server.rpc import inference_pb2 as pb

M = TypeVar("M", bound=Message)
Plain = bool | float | str

# The field of InferTensorContents that holds a datatype's values; FP16 has none, it only goes raw.
FIELDS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_INT64_END = 2**63


def read_message(kind: type[M], data: bytes) -> M:
    """Read a message of the given class.

    Raises
    ------
    RequestError
        Status 400: the bytes are no such message.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise RequestError(400, f"the message isn't an {kind.DESCRIPTOR.full_name}") from error


class MessageReader:
    """Reads requests for one model.

    Parameters
    ----------
    schema
        The model's.
    max_rows
        Most rows in one request.
    """

    def __init__(self, schema: Schema, *, max_rows: int) -> None:
        self._schema = schema
        self._max_rows = max_rows
        self._wishes = Wishes(schema)

    def read(self, request: pb.ModelInferRequest) -> Query:
        """Read an inference request.

        Raises
        ------
        RequestError
            Status 400.
        """
        if len(request.id) > MAX_ID:
            raise RequestError(400, f"id: has {len(request.id)} characters; at most {MAX_ID} are allowed")
        raw, inputs = request.raw_input_contents, request.inputs
        if raw and len(raw) != len(inputs):
            raise RequestError(
                400,
                f"raw_input_contents: has {len(raw)} parts for {len(inputs)} inputs; send one for each, in their order",
            )
        if raw:
            tensors = [_read_raw(tensor, part) for tensor, part in zip(inputs, raw, strict=True)]
        else:
            tensors = [_read_typed(tensor) for tensor in inputs]
        parameters = _read_parameters(request.parameters)
        return Query(
            request.id or None,
            parameters or None,
            build_rows(tensors, self._schema, max_rows=self._max_rows),
            self._read_wishes(request, bool(raw)),
        )

    def _read_wishes(self, request: pb.ModelInferRequest, binary: bool) -> tuple[Wish, ...]:
        if not request.outputs:
            return self._wishes.all(binary=binary)
        if len(request.outputs) > MAX_WISHES:
            raise RequestError(
                400, f"outputs: has {len(request.outputs)} names; at most {MAX_WISHES} are allowed"
            )
        for output in request.outputs:
            _check_supported(f"outputs: {output.name[:MAX_NAME]!r}", output.parameters)
        return self._wishes.check(Wish(output.name, binary) for output in request.outputs)


class MessageWriter:
    """Writes the answers of one model.

    Parameters
    ----------
    schema, model_name, model_version
        The model's.
    """

    def __init__(self, schema: Schema, *, model_name: str, model_version: str) -> None:
        self._datatypes = {column.name: column.datatype for column in schema.outputs}
        self._model_name = model_name
        self._model_version = model_version

    def write(
        self, outputs: Outputs, query: Query, flags: Iterable[Flag], prediction_id: str
    ) -> pb.ModelInferResponse:
        """Write the outputs that were asked for, in the order of the request.

        Parameters
        ----------
        outputs
            All of the model's.
        flags
            What the schema let through.
        prediction_id
            The key for feedback. It is in the call's metadata too, which most clients hide.
        """
        answer = pb.ModelInferResponse(
            model_name=self._model_name, model_version=self._model_version, id=query.id or ""
        )
        parameters: dict[str, Plain] = {**(query.parameters or {}), "prediction_id": prediction_id}
        if named := render_flags(flags):
            parameters["flags"] = named
        for name, value in parameters.items():
            _set_parameter(answer.parameters[name], value)
        for wish in query.outputs:
            values, datatype = outputs[wish.name], self._datatypes[wish.name]
            tensor = answer.outputs.add(name=wish.name, datatype=datatype, shape=values.shape)
            if wish.binary:
                answer.raw_output_contents.append(encode_raw(values, datatype))
            else:
                getattr(tensor.contents, FIELDS[datatype]).extend(_list_values(values, datatype))
        return answer


def build_metadata(description: Mapping[str, Any]) -> pb.ModelMetadataResponse:
    """Build a model's metadata from the same description that REST gives."""
    metadata = pb.ModelMetadataResponse(
        name=description["name"], versions=description["versions"], platform=description["platform"]
    )
    for tensors, columns in ((metadata.inputs, "inputs"), (metadata.outputs, "outputs")):
        for column in description[columns]:
            tensors.add(name=column["name"], datatype=column["datatype"], shape=column["shape"])
    return metadata


def _read_raw(tensor: pb.ModelInferRequest.InferInputTensor, data: bytes) -> Tensor:
    name, datatype, shape = _read_head(tensor)
    if tensor.HasField("contents"):
        raise RequestError(400, f"{name}: has contents beside raw_input_contents; send one of both")
    return Tensor(name, datatype, shape, decode_raw(name, datatype, shape, memoryview(data)))


def _read_typed(tensor: pb.ModelInferRequest.InferInputTensor) -> Tensor:
    name, datatype, shape = _read_head(tensor)
    field = FIELDS.get(datatype)
    if field is None:
        raise RequestError(400, f"{name}: {datatype} has no typed contents; send it in raw_input_contents")
    for other, _ in tensor.contents.ListFields():
        if other.name != field:
            raise RequestError(400, f"{name}: has {other.name}; {datatype} goes into {field}")
    values = list(getattr(tensor.contents, field))
    if datatype == "BYTES":
        try:
            values = [str(value, "utf-8") for value in values]
        except UnicodeDecodeError as error:
            raise RequestError(400, f"{name}: a value of BYTES isn't UTF-8") from error
    return Tensor(name, datatype, shape, values)


def _read_head(tensor: pb.ModelInferRequest.InferInputTensor) -> tuple[str, str, tuple[int, ...]]:
    name, datatype = tensor.name, tensor.datatype
    if not 0 < len(name) <= MAX_NAME:
        raise RequestError(400, f"inputs: a name has {len(name)} characters; 1 to {MAX_NAME} are allowed")
    if datatype not in DATATYPES:
        raise RequestError(400, f"{name}: has datatype {datatype[:64]!r}; one of {', '.join(DATATYPES)}")
    if tensor.parameters:
        _check_supported(name, tensor.parameters)
    return name, datatype, tuple(tensor.shape)


def _check_supported(where: str, parameters: Mapping[str, pb.InferParameter]) -> None:
    for name in UNSUPPORTED:
        if name in parameters:
            raise RequestError(
                400, f"{where}: the parameter {name} isn't supported by this server; leave it out"
            )


def _read_parameters(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Plain]:
    plain: dict[str, Plain] = {}
    for name, parameter in parameters.items():
        field = parameter.WhichOneof("parameter_choice")
        if field is None:
            raise RequestError(400, f"parameters: {name[:MAX_NAME]!r} has no value")
        plain[name] = getattr(parameter, field)
    return plain


def _set_parameter(parameter: pb.InferParameter, value: Plain) -> None:
    match value:
        case bool():
            parameter.bool_param = value
        case int() if value < _INT64_END:
            parameter.int64_param = value
        case int():
            parameter.uint64_param = value
        case float():
            parameter.double_param = value
        case _:
            parameter.string_param = value


def _list_values(values: npt.NDArray[Any], datatype: str) -> list[Any]:
    flat = values.ravel()
    if datatype == "BYTES":
        return [v if isinstance(v, bytes) else str(v).encode("utf-8", "replace") for v in flat.tolist()]
    return list(np.asarray(flat, dtype=DATATYPES[datatype].dtype).tolist())
