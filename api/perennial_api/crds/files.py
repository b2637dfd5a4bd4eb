"""Renders the CRDs as YAML and knows the folders that hold them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from perennial_api.crds.definitions import DEFINITIONS, Column, Definition
from perennial_api.crds.schema import build_structural_schema
from perennial_api.labels import GROUP, VERSION

__all__ = ["build_crd", "render_files", "stale_files", "write_files"]

# Written into every file, so that nobody edits the wrong one.
_HEADER = "# Generated from api/perennial_api by `make crds`; edit the models there.\n"
PLAIN_FOLDER = Path("crds")
# In templates/, not in Helm's crds/, so that `helm upgrade` updates them; resource-policy keeps them, and with them
# every ModelDeployment, when the release is removed.
CHART_FOLDER = Path("charts/perennial/templates/crds")


def build_crd(definition: Definition) -> dict[str, Any]:
    """Build one CustomResourceDefinition."""
    schema = build_structural_schema(definition.model)
    subresources: dict[str, Any] = (
        {"subresources": {"status": {}}} if "status" in schema["properties"] else {}
    )
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_printer_column(column) for column in definition.columns],
        "schema": {"openAPIV3Schema": schema},
        **subresources,
    }
    names = {
        "kind": definition.kind,
        "listKind": f"{definition.kind}List",
        "plural": definition.plural,
        "singular": definition.kind.lower(),
        "shortNames": [definition.short_name],
        "categories": ["perennial"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{definition.plural}.{GROUP}",
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {"group": GROUP, "scope": definition.scope, "names": names, "versions": [version]},
    }


def _printer_column(column: Column) -> dict[str, Any]:
    base = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    return base | ({"priority": column.priority} if column.priority else {})


def render_files() -> dict[Path, str]:
    """Render every generated file, by its path below the repository's root."""
    files = {}
    for definition in DEFINITIONS:
        text = _HEADER + yaml.safe_dump(build_crd(definition), sort_keys=False, width=110)
        name = f"{definition.plural}.yaml"
        files[PLAIN_FOLDER / name] = text
        # Helm would take two opening braces for its own.
        files[CHART_FOLDER / name] = text.replace("{{", '{{ "{{" }}')
    return files


def _leftovers(root: Path, wanted: dict[Path, str]) -> Iterator[Path]:
    for folder in (PLAIN_FOLDER, CHART_FOLDER):
        for found in sorted((root / folder).glob("*.yaml")):
            if found.relative_to(root) not in wanted:
                yield found.relative_to(root)


def stale_files(root: Path) -> list[Path]:
    """List the files that differ from what the models say, are missing, or belong to no kind."""
    wanted = render_files()
    differing = [
        path
        for path, text in wanted.items()
        if not (root / path).exists() or (root / path).read_text() != text
    ]
    return [*differing, *_leftovers(root, wanted)]


def write_files(root: Path) -> None:
    """Write every generated file and remove those that belong to no kind."""
    wanted = render_files()
    for leftover in list(_leftovers(root, wanted)):
        (root / leftover).unlink()
    for path, text in wanted.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
