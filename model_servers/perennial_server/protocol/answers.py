"""An inference answer over REST: a model's outputs in, bytes out.

Written by hand around the arrays: what is the same in all answers of a model is written once, so that the answer to one
row costs microseconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import orjson
from perennial_bundle import Flag, Outputs, Schema

from perennial_server.protocol.query import Parameters, Query
from perennial_server.protocol.raw import encode_raw

MAX_NAMED_FLAGS = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """A body.

    Parameters
    ----------
    json_bytes
        How much of it is JSON, with raw tensors behind it; None if all of it is.
    """

    body: bytes
    json_bytes: int | None = None


class AnswerWriter:
    """Writes the answers of one model.

    Parameters
    ----------
    schema, model_name, model_version
        The model's.
    """

    def __init__(self, schema: Schema, *, model_name: str, model_version: str) -> None:
        model = orjson.dumps({"model_name": model_name, "model_version": model_version})
        self._start = model[:-1]
        self._heads = {
            column.name: orjson.dumps({"name": column.name, "datatype": column.datatype})[:-1] + b',"shape":'
            for column in schema.outputs
        }
        self._datatypes = {column.name: column.datatype for column in schema.outputs}

    def write(self, outputs: Outputs, query: Query, flags: Sequence[Flag] = ()) -> Answer:
        """Write the outputs that were asked for, in the order of the request.

        Parameters
        ----------
        outputs
            All of the model's.
        flags
            What the schema let through.
        """
        parts = [self._start]
        if query.id is not None:
            parts += (b',"id":', orjson.dumps(query.id))
        if (query.parameters or flags) and (parameters := _build_parameters(query.parameters, flags)):
            parts += (b',"parameters":', orjson.dumps(parameters))
        comma = b',"outputs":['
        tail: list[bytes] = []
        for wish in query.outputs:
            array = outputs[wish.name]
            shape = b"[%d]" % len(array) if array.ndim == 1 else orjson.dumps(array.shape)
            parts += (comma, self._heads[wish.name], shape)
            comma = b","
            if wish.binary:
                raw = encode_raw(array, self._datatypes[wish.name])
                tail.append(raw)
                parts.append(b',"parameters":{"binary_data_size":%d}}' % len(raw))
            else:
                parts += (b',"data":', _render_values(array), b"}")
        parts.append(b"]}")
        text = b"".join(parts)
        return Answer(b"".join((text, *tail)), len(text)) if tail else Answer(text)


def render_flags(flags: Iterable[Flag]) -> str:
    """Name what was let through, for an answer's parameters: ``column:kind:action``, each once, at most 32.

    Examples
    --------
    >>> render_flags([Flag(0, "acid", "Missing", "Imputed"), Flag(3, "acid", "Missing", "Imputed")])
    'acid:Missing:Imputed'
    """
    named = dict.fromkeys(f"{flag.column}:{flag.kind}:{flag.action}" for flag in flags)
    return ",".join(list(named)[:MAX_NAMED_FLAGS])


def _build_parameters(asked: Parameters | None, flags: Sequence[Flag]) -> dict[str, bool | int | float | str]:
    # What the request says of its own form says nothing of the answer's.
    parameters = {k: v for k, v in (asked or {}).items() if k != "binary_data_output"}
    if named := render_flags(flags):
        parameters["flags"] = named
    return parameters


def _render_values(array: npt.NDArray[Any]) -> bytes:
    flat = array.ravel()
    if flat.dtype.kind == "O":
        return orjson.dumps(flat.tolist())
    return orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY)
