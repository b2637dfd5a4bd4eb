"""The committed CRDs are what the models say, and say it in full."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from perennial_api.crds.definitions import DEFINITIONS
from perennial_api.crds.files import build_crd, stale_files

ROOT = Path(__file__).parents[3]
# Kubernetes bounds these itself, so they need no maxLength.
BOUNDED_FORMATS = {"date-time"}


def _nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, value in schema.get("properties", {}).items():
        yield from _nodes(value, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from _nodes(schema[key], f"{path}[]")


def _fields() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for definition in DEFINITIONS:
        (version,) = build_crd(definition)["spec"]["versions"]
        properties = version["schema"]["openAPIV3Schema"]["properties"]
        for part in properties.keys() - {"apiVersion", "kind", "metadata"}:
            found += _nodes(properties[part], f"{definition.kind}.{part}")
    return found


FIELDS = _fields()


def test_committed_crds_are_what_the_models_say():
    assert stale_files(ROOT) == []


def test_every_field_has_a_description():
    got = [
        path
        for path, node in FIELDS
        if not path.endswith("[]") and not node.get("description", "").endswith(".")
    ]
    assert got == []


def test_every_text_is_bounded():
    got = [
        path
        for path, node in FIELDS
        if node.get("type") == "string"
        and not ({"maxLength", "enum"} & node.keys() or node.get("format") in BOUNDED_FORMATS)
    ]
    assert got == []


def test_every_list_and_map_is_bounded():
    lists = [path for path, node in FIELDS if node.get("type") == "array" and "maxItems" not in node]
    maps = [path for path, node in FIELDS if "additionalProperties" in node and "maxProperties" not in node]
    assert (lists, maps) == ([], [])


@pytest.mark.parametrize("word", ["anyOf", "oneOf", "allOf", "$ref", "$defs", "title"])
def test_schema_is_structural(word):
    assert [path for path, node in FIELDS if word in node] == []


def test_every_rule_says_what_to_change():
    rules = [rule for _, node in FIELDS for rule in node.get("x-kubernetes-validations", [])]
    assert rules
    assert all(rule["message"] for rule in rules)


def test_generated_yaml_reads_as_one_definition_per_kind():
    want = {definition.kind for definition in DEFINITIONS}
    got = {
        yaml.safe_load(path.read_text())["spec"]["names"]["kind"] for path in (ROOT / "crds").glob("*.yaml")
    }
    assert got == want
