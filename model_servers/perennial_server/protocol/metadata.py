"""What a server and its model say about themselves, and how they say no."""

from collections.abc import Mapping
from typing import Any

import orjson
from perennial_bundle import Column, Schema

from perennial_server.version import VERSION

EXTENSIONS = ("binary_tensor_data",)
PLATFORMS: Mapping[str, str] = {"skops": "sklearn_skops", "onnx": "onnxruntime_onnx"}


def describe_server() -> dict[str, Any]:
    """Describe the server; only what it does is among the extensions."""
    return {"name": "perennial", "version": VERSION, "extensions": list(EXTENSIONS)}


def describe_model(
    schema: Schema, *, name: str, version: str, model_format: str, n_classes: int | None
) -> dict[str, Any]:
    """Describe the model: its tensors are its schema's columns.

    Parameters
    ----------
    model_format
        The bundle's.
    n_classes
        Of a classifier: with more than two, it answers a probability for each.
    """

    def describe(column: Column) -> dict[str, Any]:
        many = column.name == "probability" and n_classes is not None and n_classes > 2  # noqa: PLR2004
        return {"name": column.name, "datatype": column.datatype, "shape": [-1, n_classes] if many else [-1]}

    return {
        "name": name,
        "versions": [version],
        "platform": PLATFORMS.get(model_format, model_format),
        "inputs": [describe(column) for column in schema.inputs],
        "outputs": [describe(column) for column in schema.outputs],
    }


def render_error(message: str) -> bytes:
    """Write a v2 error body."""
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode("utf-8")})
