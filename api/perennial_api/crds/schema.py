"""Turns a pydantic model into a structural OpenAPI v3 schema, the subset that Kubernetes takes.

Pydantic writes JSON Schema 2020-12 with ``$ref``, ``anyOf [X, null]`` for optional fields and ``const`` for literals.
Kubernetes takes no references, no unions of types, and OpenAPI 3.0's boolean ``exclusiveMinimum``.
"""

from typing import Any

from perennial_api.base import Resource

__all__ = ["UnsupportedSchemaError", "build_structural_schema"]

Schema = dict[str, Any]

_DROPPED = frozenset({"title", "additionalProperties", "$defs", "const", "propertyNames"})
# The order of the keys in a file; those not named follow by name, what is inside an object comes last.
_ORDER = {
    key: place
    for place, key in enumerate(
        [
            "description",
            "type",
            "format",
            "enum",
            "default",
            "pattern",
            "minimum",
            "maximum",
            "minLength",
            "maxLength",
        ]
    )
} | {
    "required": 97,
    "properties": 98,
    "items": 98,
    "additionalProperties": 98,
    "x-kubernetes-validations": 99,
}
_METADATA = ("apiVersion", "kind", "metadata")

_ROOT_PROPERTIES: Schema = {
    "apiVersion": {
        "description": "Version of the schema of this object, perennial.dev/v1alpha1.",
        "type": "string",
    },
    "kind": {"description": "Kind of this object.", "type": "string"},
    "metadata": {"type": "object"},
}


class UnsupportedSchemaError(TypeError):
    """A model uses something that a structural schema can't say; the author of the model changes it."""


def build_structural_schema(model: type[Resource]) -> Schema:
    """Build the ``openAPIV3Schema`` of one kind."""
    document = model.model_json_schema(by_alias=True, mode="validation")
    schema = _structural(document, document.get("$defs", {}), path=model.__name__)
    properties = {name: value for name, value in schema["properties"].items() if name not in _METADATA}
    for value in properties.values():
        # Spec and status have no defaults of their own: an object without status has none.
        value.pop("default", None)
    return {**schema, "properties": {**_ROOT_PROPERTIES, **properties}}


def _structural(node: Schema, definitions: dict[str, Schema], path: str) -> Schema:
    node = _without_null(_resolved(node, definitions), definitions, path)
    if "anyOf" in node or "oneOf" in node or "allOf" in node:
        raise UnsupportedSchemaError(f"{path}: a union of types can't be said in a structural schema")
    out = {key: value for key, value in node.items() if key not in _DROPPED}
    if "const" in node:
        out["enum"] = [node["const"]]
    if "description" in out:
        out["description"] = " ".join(out["description"].split())
    _translate_bounds(out)
    if "properties" in node:
        out["properties"] = {
            name: _structural(value, definitions, f"{path}.{name}")
            for name, value in node["properties"].items()
        }
    elif isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = _structural(node["additionalProperties"], definitions, f"{path}.*")
    if "items" in node:
        out["items"] = _structural(node["items"], definitions, f"{path}[]")
    if "default" in out:
        out["default"] = _default(out)
    return _ordered(out)


def _resolved(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """Inline a reference; what stands beside it (description, default) wins over what it refers to."""
    if "$ref" not in node:
        return node
    target = definitions[node["$ref"].rsplit("/", 1)[-1]]
    beside = {key: value for key, value in node.items() if key != "$ref"}
    return _resolved({**target, **beside}, definitions)


def _without_null(node: Schema, definitions: dict[str, Schema], path: str) -> Schema:
    """Reduce ``anyOf [X, null]`` to X: in Kubernetes an optional field is one that is left out."""
    if "anyOf" not in node:
        return node
    others = [_resolved(choice, definitions) for choice in node["anyOf"] if choice.get("type") != "null"]
    if len(others) != 1:
        raise UnsupportedSchemaError(f"{path}: a union of types can't be said in a structural schema")
    beside = {key: value for key, value in node.items() if key != "anyOf"}
    if beside.get("default", ...) is None:
        del beside["default"]
    return {**others[0], **beside}


def _translate_bounds(out: Schema) -> None:
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if exclusive in out:
            out[bound] = out[exclusive]
            out[exclusive] = True
    if out.get("type") == "integer":
        out["format"] = "int64"


def _default(out: Schema) -> Any:
    """Write an object's default as ``{}``: the API server fills in the defaults of its fields.

    Where the object has rules it must stand in full: the rules are checked on the default as written.
    """
    return {} if "properties" in out and "x-kubernetes-validations" not in out else _given(out["default"])


def _given(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _given(inner) for key, inner in value.items() if inner is not None}
    return [_given(inner) for inner in value] if isinstance(value, list) else value


def _ordered(node: Schema) -> Schema:
    """Put the keys in one order, whatever order this version of pydantic writes."""
    return {key: node[key] for key in sorted(node, key=lambda key: (_ORDER.get(key, 50), key))}
