"""An inference request over REST, as JSON with or without raw tensors behind it: bytes in, a query out.

The document is checked by hand: a validator that builds objects of it would cost more than the model. Every fault is a
RequestError that names the field.
"""

from itertools import chain, pairwise
from typing import Any, NoReturn

import orjson
from perennial_bundle import Schema

from perennial_server.errors import RequestError
from perennial_server.protocol.datatypes import DATATYPES, MAX_DIMENSIONS, MAX_NAME, MAX_SIZE, MAX_TENSORS
from perennial_server.protocol.query import MAX_WISHES, UNSUPPORTED, Parameters, Query, Wish, Wishes
from perennial_server.protocol.tensors import Tensor, build_rows, decode_raw

MAX_ID = 1024
_PARAMETER_TYPES = frozenset({bool, int, float, str})


class RequestReader:
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

    def read(self, body: bytes, json_bytes: int | None = None) -> Query:
        """Read a request.

        Parameters
        ----------
        json_bytes
            How much of the body is JSON; raw tensors follow. None if all of it is.

        Raises
        ------
        RequestError
            Status 400.
        """
        tail = _Tail(body, json_bytes)
        try:
            document = orjson.loads(tail.head)
        except orjson.JSONDecodeError as error:
            raise RequestError(400, f"the body isn't JSON: {error}") from error
        if type(document) is not dict:
            _refuse("the body", "has to be an object with inputs")
        request_id = document.get("id")
        if request_id is not None and (type(request_id) is not str or len(request_id) > MAX_ID):
            _refuse("id", f"has to be a string of at most {MAX_ID} characters")
        parameters = document.get("parameters")
        if parameters is not None:
            _check_parameters(parameters, "parameters")
        inputs = document.get("inputs")
        if type(inputs) is not list or not 0 < len(inputs) <= MAX_TENSORS:
            _refuse("inputs", f"has to be a list of 1 to {MAX_TENSORS} tensors")
        tensors = [_read_tensor(item, index, tail) for index, item in enumerate(inputs)]
        tail.check_end()
        outputs = document.get("outputs")
        binary = parameters is not None and _flag(
            parameters, "binary_data_output", "parameters", default=False
        )
        return Query(
            request_id,
            parameters,
            build_rows(tensors, self._schema, max_rows=self._max_rows),
            self._wishes.check(_read_wishes(outputs, binary)) if outputs else self._wishes.all(binary=binary),
        )


class _Tail:
    """The raw tensors behind the JSON, taken in order."""

    __slots__ = ("_at", "_data", "head")

    def __init__(self, body: bytes, json_bytes: int | None) -> None:
        self._at = 0
        self._data: memoryview | None = None
        self.head: bytes | memoryview = body
        if json_bytes is None:
            return
        if json_bytes > len(body):
            raise RequestError(
                400, f"Inference-Header-Content-Length: is {json_bytes}, and the body has {len(body)} bytes"
            )
        whole = memoryview(body)
        self.head, self._data = whole[:json_bytes], whole[json_bytes:]

    def take(self, name: str, size: Any) -> memoryview:
        if type(size) is not int or size < 0:
            _refuse(name, "has a binary_data_size that isn't a number of bytes")
        if self._data is None:
            _refuse(name, "has a binary_data_size, which needs the header Inference-Header-Content-Length")
        left = len(self._data) - self._at
        if size > left:
            _refuse(name, f"has a binary_data_size of {size} where the body has {left} bytes left")
        self._at += size
        return self._data[self._at - size : self._at]

    def check_end(self) -> None:
        if self._data is not None and self._at != len(self._data):
            _refuse("the body", f"has {len(self._data) - self._at} bytes after its last tensor")


def _read_tensor(item: Any, index: int, tail: _Tail) -> Tensor:
    if type(item) is not dict:
        _refuse(f"inputs.{index}", "has to be an object")
    name, datatype = item.get("name"), item.get("datatype")
    if type(name) is not str or not 0 < len(name) <= MAX_NAME:
        _refuse(f"inputs.{index}.name", f"has to be a string of 1 to {MAX_NAME} characters")
    if type(datatype) is not str or datatype not in DATATYPES:
        _refuse(f"inputs.{index}.datatype", f"has to be one of {', '.join(DATATYPES)}")
    shape = _read_shape(item.get("shape"), index)
    data, parameters = item.get("data"), item.get("parameters")
    if parameters is not None:
        _check_parameters(parameters, f"inputs.{index}.parameters")
        if "binary_data_size" in parameters:
            if data is not None:
                _refuse(f"inputs.{index}.data", "can't stand beside a binary_data_size")
            raw = tail.take(f"inputs.{index}", parameters["binary_data_size"])
            return Tensor(name, datatype, shape, decode_raw(name, datatype, shape, raw))
    if type(data) is not list:
        _refuse(
            f"inputs.{index}.data", "has to be a list, unless the tensor is sent raw, with a binary_data_size"
        )
    if data and type(data[0]) is list:
        data = _flatten(name, shape, data)
    return Tensor(name, datatype, shape, data)


def _read_shape(shape: Any, index: int) -> tuple[int, ...]:
    if type(shape) is not list or not 0 < len(shape) <= MAX_DIMENSIONS:
        _refuse(f"inputs.{index}.shape", f"has to be a list of 1 to {MAX_DIMENSIONS} sizes")
    for axis, size in enumerate(shape):
        if type(size) is not int or not 0 <= size <= MAX_SIZE:
            _refuse(f"inputs.{index}.shape.{axis}", f"has to be an integer from 0 to {MAX_SIZE}")
    return tuple(shape)


def _flatten(name: str, shape: tuple[int, ...], data: list[Any]) -> list[Any]:
    """Bring data nested as the shape says into one list, row by row."""
    for size, width in pairwise(shape):
        if len(data) != size or set(map(type, data)) != {list}:
            _refuse(name, f"data isn't nested as shape {list(shape)} says")
        if set(map(len, data)) != {width}:
            _refuse(name, f"data has rows of a length other than {width}")
        data = list(chain.from_iterable(data))
    return data


def _read_wishes(outputs: Any, binary: bool) -> list[Wish]:
    if type(outputs) is not list or len(outputs) > MAX_WISHES:
        _refuse("outputs", f"has to be a list of at most {MAX_WISHES} outputs")
    wishes = []
    for index, item in enumerate(outputs):
        if type(item) is not dict:
            _refuse(f"outputs.{index}", "has to be an object with a name")
        name = item.get("name")
        if type(name) is not str or not 0 < len(name) <= MAX_NAME:
            _refuse(f"outputs.{index}.name", f"has to be a string of 1 to {MAX_NAME} characters")
        where, parameters, raw = f"outputs.{index}.parameters", item.get("parameters"), binary
        if parameters is not None:
            _check_parameters(parameters, where)
            raw = _flag(parameters, "binary_data", where, default=binary)
        wishes.append(Wish(name, raw))
    return wishes


def _flag(parameters: Parameters, name: str, where: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        _refuse(f"{where}.{name}", "has to be true or false")
    return value


def _check_parameters(parameters: Any, where: str) -> None:
    if type(parameters) is not dict:
        _refuse(where, "has to be an object")
    if not set(map(type, parameters.values())) <= _PARAMETER_TYPES:
        _refuse(where, "has a value that is neither a string, nor a number, nor true or false")
    for name in UNSUPPORTED:
        if name in parameters:
            _refuse(f"{where}.{name}", "isn't supported by this server; leave it out")


def _refuse(field: str, why: str) -> NoReturn:
    raise RequestError(400, f"{field}: {why}")
