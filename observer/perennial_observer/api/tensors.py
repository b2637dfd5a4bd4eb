"""Log bodies whose columns of numbers come as tensors beside the JSON. Pure.

A body is a safetensors file: its tensor ``body`` is JSON as ``POST /v1/log`` takes it, but that a column may be null,
and is then the tensor ``<index of the group>/<inputs or outputs>/<column>``. That format holds plain arrays and nothing
that could be executed, and its reader checks every length.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from safetensors import SafetensorError
from safetensors.numpy import load

from perennial_observer.errors import InvalidRequest

__all__ = ["TENSORS_TYPE", "read_tensors"]

TENSORS_TYPE = "application/vnd.perennial.log+safetensors"
MAX_DIMENSIONS = 2  # a row's value is a number, or a vector of them


def read_tensors(body: bytes) -> Any:
    """Return the JSON of a body, its columns filled in.

    Raises
    ------
    InvalidRequest
        It isn't a safetensors file, or a column has no tensor.
    orjson.JSONDecodeError
        What should be JSON isn't.
    """
    try:
        tensors = load(body)
    except (
        SafetensorError,
        KeyError,
        ValueError,
        TypeError,
    ) as error:  # a KeyError where NumPy has no such type
        raise InvalidRequest(f"the body is not safetensors: {error}", "InvalidTensors") from error
    document = tensors.pop("body", None)
    if document is None or document.dtype != np.uint8:
        raise InvalidRequest("the body has no tensor 'body' of U8 with its JSON", "InvalidTensors")
    parsed = orjson.loads(document.tobytes())
    groups = parsed.get("groups") if isinstance(parsed, dict) else None
    for index, group in enumerate(groups if isinstance(groups, list) else ()):
        for side in ("inputs", "outputs"):
            columns = group.get(side) if isinstance(group, dict) else None
            if isinstance(columns, dict):
                _fill(columns, f"{index}/{side}", tensors)
    if tensors:
        raise InvalidRequest(f"no column is null for tensor {min(tensors)[:300]!r}", "InvalidTensors")
    return parsed


def _fill(columns: dict[str, Any], prefix: str, tensors: dict[str, npt.NDArray[Any]]) -> None:
    for name, values in columns.items():
        if values is not None:
            continue
        tensor = tensors.pop(f"{prefix}/{name}", None)
        if tensor is None or not 1 <= tensor.ndim <= MAX_DIMENSIONS:
            raise InvalidRequest(
                f"{prefix}/{name[:256]}: is null, but there is no tensor of 1 or {MAX_DIMENSIONS} dimensions of that name",
                "InvalidTensors",
            )
        columns[name] = _as_list(tensor)


def _as_list(tensor: npt.NDArray[Any]) -> list[Any]:
    """Return values as JSON would have brought them: narrow ones in their shortest form, NaN as missing.

    Infinities, which JSON has no word for, stay what they are: rows with them are kept apart.
    """
    values: list[Any]
    if tensor.dtype.kind == "f" and (tensor.itemsize < 8 or not np.isfinite(tensor).all()):  # noqa: PLR2004  float64
        values = orjson.loads(orjson.dumps(tensor, option=orjson.OPT_SERIALIZE_NUMPY))
        for place in np.argwhere(np.isinf(tensor)).tolist():
            _put(values, place, float(tensor[tuple(place)]))
    else:
        values = tensor.tolist()
    return values


def _put(values: list[Any], place: list[int], value: float) -> None:
    for index in place[:-1]:
        values = values[index]
    values[place[-1]] = value
