"""The datatypes of the Open Inference Protocol v2, and which of them a column takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_TENSORS = 8192
MAX_DIMENSIONS = 4
MAX_SIZE = 2**31
MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class Datatype:
    """How numpy and the wire hold a datatype.

    Parameters
    ----------
    dtype
        Little-endian, as the protocol's raw tensors are; object for BYTES.
    size_bytes
        Of one value; None where each value says its own.
    """

    dtype: np.dtype[Any]
    size_bytes: int | None


DATATYPES: Mapping[str, Datatype] = {
    "BOOL": Datatype(np.dtype("?"), 1),
    "INT8": Datatype(np.dtype("<i1"), 1),
    "INT16": Datatype(np.dtype("<i2"), 2),
    "INT32": Datatype(np.dtype("<i4"), 4),
    "INT64": Datatype(np.dtype("<i8"), 8),
    "UINT8": Datatype(np.dtype("<u1"), 1),
    "UINT16": Datatype(np.dtype("<u2"), 2),
    "UINT32": Datatype(np.dtype("<u4"), 4),
    "UINT64": Datatype(np.dtype("<u8"), 8),
    "FP16": Datatype(np.dtype("<f2"), 2),
    "FP32": Datatype(np.dtype("<f4"), 4),
    "FP64": Datatype(np.dtype("<f8"), 8),
    "BYTES": Datatype(np.dtype("O"), None),
}
INTEGERS: Mapping[str, tuple[int, int]] = {
    name: (int(np.iinfo(datatype.dtype).min), int(np.iinfo(datatype.dtype).max))
    for name, datatype in DATATYPES.items()
    if datatype.dtype.kind in "iu"
}
FLOATS = frozenset({"FP16", "FP32", "FP64"})
NUMBERS = FLOATS | INTEGERS.keys()
ACCEPTED: Mapping[str, frozenset[str]] = {
    "BOOL": frozenset({"BOOL"}),
    "INT64": frozenset(INTEGERS),
    "FP32": NUMBERS,
    "FP64": NUMBERS,
    "BYTES": frozenset({"BYTES"}),
}
# What FP64 is to JSON is the same for all floats, so that a client may name any of them.
