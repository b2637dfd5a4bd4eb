"""Look into an ONNX file before onnxruntime does: what it would read from elsewhere, run, or make room for.

A graph can name files beside it (external data) and operators of libraries that a server would have to load; and a few
bytes can claim a tensor of terabytes. None of that is a model of rows, so none of it reaches the runtime.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

from perennial_bundle.errors import InvalidBundle, UnsafeModel
from perennial_bundle.formats.wire import BYTES, WireError, read_fields, read_numbers

MAX_ONNX_BYTES = 2**30
MAX_DEPTH = 32
MAX_DIMS = 32
STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})

# Field numbers of onnx.proto that lead to nodes and tensors: message -> field -> message.
_CHILDREN: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 8: "Opset", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {},
    "Opset": {},
}
_NODE_OP, _NODE_DOMAIN, _FUNCTION_NAME, _FUNCTION_DOMAIN = 4, 7, 1, 10
_TEXTS = {"Node": (_NODE_OP, _NODE_DOMAIN), "Function": (_FUNCTION_NAME, _FUNCTION_DOMAIN)}
_TENSOR_DIMS, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 13, 14


@dataclass
class _Scan:
    """What was found in a file so far."""

    file_bytes: int
    operators: set[tuple[str, str]] = field(default_factory=set)
    functions: set[tuple[str, str]] = field(default_factory=set)
    n_graphs: int = 0

    def message(self, kind: str, data: memoryview, depth: int = 0) -> None:
        """Go through a message and all that it holds."""
        if depth > MAX_DEPTH:
            raise WireError(f"it is nested deeper than {MAX_DEPTH} levels")
        self.n_graphs += kind == "Graph"
        texts: dict[int, str] = {}
        dims: list[int] = []
        for number, wire, value in read_fields(data):
            if isinstance(value, memoryview) and wire == BYTES:
                if number in _CHILDREN[kind]:
                    self.message(_CHILDREN[kind][number], value, depth + 1)
                elif number in _TEXTS.get(kind, ()):
                    texts[number] = bytes(value[:256]).decode("utf-8", "replace")
            if kind == "Tensor":
                _check_inside(number, value)
                if number == _TENSOR_DIMS:
                    dims.extend(read_numbers(wire, value))
        self._keep(kind, texts, dims)

    def _keep(self, kind: str, texts: dict[int, str], dims: list[int]) -> None:
        if kind == "Node":
            self.operators.add((texts.get(_NODE_DOMAIN, ""), texts.get(_NODE_OP, "")))
        elif kind == "Function":
            self.functions.add((texts.get(_FUNCTION_DOMAIN, ""), texts.get(_FUNCTION_NAME, "")))
        # Two values of the smallest type share a byte: a tensor can't hold more values than that.
        elif kind == "Tensor" and (len(dims) > MAX_DIMS or math.prod(dims) > 2 * self.file_bytes):
            raise InvalidBundle(
                f"the ONNX file holds a tensor that claims the shape {dims[:8]}, more than the file can hold"
            )


def _check_inside(number: int, value: int | memoryview) -> None:
    if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value):
        raise UnsafeModel(
            "the ONNX file keeps tensors in files beside it, which servers never read; "
            "save it with all data inside"
        )


def check_onnx(path: Path) -> None:
    """Refuse an ONNX file that reaches beyond itself; see `scan_onnx`.

    Raises
    ------
    InvalidBundle
        It is too large, or not ONNX.
    UnsafeModel
        It names files or libraries.
    """
    size = path.stat().st_size
    if size > MAX_ONNX_BYTES:
        raise InvalidBundle(f"{path.name} has {size} bytes; at most {MAX_ONNX_BYTES} are loaded")
    scan_onnx(path.read_bytes(), path.name)


def scan_onnx(data: bytes, name: str) -> None:
    """Check every node and tensor of a model, also those in branches, loops and functions.

    Raises
    ------
    InvalidBundle, UnsafeModel
        See `check_onnx`.
    """
    found = _Scan(len(data))
    try:
        found.message("Model", memoryview(data))
    except WireError as error:
        raise InvalidBundle(f"{name} isn't an ONNX file that can be read: {error}") from error
    if not found.n_graphs or not found.operators:
        raise InvalidBundle(f"{name} isn't an ONNX file: it holds no graph")
    foreign = sorted(
        f"{domain}.{operator}"
        for domain, operator in found.operators - found.functions
        if domain not in STANDARD_DOMAINS
    )
    if foreign:
        raise UnsafeModel(
            f"{name} needs the operators {', '.join(foreign[:5])[:300]} of a custom library; "
            "servers run the domains ai.onnx and ai.onnx.ml only"
        )
