"""Tables as the observer takes them; see its ``POST /v1/log``. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from perennial_bundle.rows import Values

from perennial_server.prediction_log.tables import Table

CONTENT_TYPE = "application/vnd.perennial.log+safetensors"

ALIGNMENT = 8  # of the arrays in the file, in bytes

_Tensors = dict[str, npt.NDArray[Any]]


def render_log_body(tables: Sequence[Table], *, revision: str, percent: int) -> bytes:
    """Write a message to the observer: JSON, and beside it the arrays as they are in memory.

    Numbers as text would cost more than all the rest of the log. A column that is an array is null in the JSON and a
    tensor named ``<index of the group>/<inputs or outputs>/<column>``.
    """
    tensors: _Tensors = {}
    groups = [_build_group(table, str(index), tensors) for index, table in enumerate(tables)]
    document = orjson.dumps({"revision": revision, "percent": percent, "groups": groups})
    return _write({"body": np.frombuffer(document, np.uint8), **tensors})


def _write(tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Write a safetensors file; that library would copy every array twice, which is a tenth of what the log costs.

    See https://github.com/huggingface/safetensors#format: the header's length, the header as JSON, and the arrays.
    """
    entries = {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        entries[name] = {"dtype": _name(tensor.dtype), "shape": tensor.shape, "data_offsets": (start, end)}
    header = orjson.dumps(entries)
    header += b" " * (-len(header) % ALIGNMENT)
    arrays = (tensor.data for tensor in tensors.values())
    return b"".join((len(header).to_bytes(8, "little"), header, *arrays))


def _name(dtype: np.dtype[Any]) -> str:
    """Name a type of numbers as the format does."""
    return "BOOL" if dtype.kind == "b" else f"{dtype.kind.upper()}{8 * dtype.itemsize}"


def _build_group(table: Table, index: str, tensors: _Tensors) -> dict[str, Any]:
    group: dict[str, Any] = {
        "ids": [origin.prediction_id for origin in table.origins],
        "times": table.times_s,
        "sizes": table.sizes,
        "inputs": _set_apart(table.inputs, f"{index}/inputs", tensors),
        "outputs": _set_apart(table.outputs, f"{index}/outputs", tensors),
    }
    clients = [origin.client for origin in table.origins]
    if any(clients):
        group["clients"] = clients
    if table.is_shadow:
        group["shadow"] = True
    if table.flags:
        group["flags"] = [(flag.row, flag.column, flag.kind, flag.action) for flag in table.flags]
    return group


def _set_apart(columns: Mapping[str, Values], prefix: str, tensors: _Tensors) -> dict[str, Any]:
    left: dict[str, Any] = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray):
            tensors[f"{prefix}/{name}"] = values
            left[name] = None
        else:
            left[name] = values
    return left
