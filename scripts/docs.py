"""Generate `docs/settings.md` from the settings classes, and check the links of every page and the tests that it names.

`python scripts/docs.py --write` rewrites the table, `--check` fails on a difference, a dead link or a test that
isn't there.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "settings.md"
CLASSES = {
    "Operator": ("perennial.controller.settings", "Settings"),
    "Gateway: Envoy": ("perennial_gateway.settings", "EnvoySettings"),
    "Gateway: router agent": ("perennial_gateway.settings", "AgentSettings"),
    "Gateway: drain": ("perennial_gateway.settings", "DrainSettings"),
    "Model server": ("perennial_server.settings", "Settings"),
    "Batch job: beside those of a model server": ("perennial_server.batch.settings", "BatchSettings"),
    "Observer": ("perennial_observer.settings", "Settings"),
    "Trainer": ("perennial_training.settings", "TrainerSettings"),
}
HEAD = """# Settings

Each process reads its settings from the environment once, at start. In a cluster the chart and the operator set them.
This page is generated from the settings classes (`make docs`).
"""


def render_settings() -> str:
    """Return the page: one table per process."""
    return HEAD + "".join(_render_class(title, module, name) for title, (module, name) in CLASSES.items())


def _render_class(title: str, module: str, name: str) -> str:
    settings: type[BaseSettings] = getattr(import_module(module), name)
    prefix = settings.model_config.get("env_prefix", "")
    rows = [f"\n## {title}\n", "| variable | default | meaning |", "|---|---|---|"]
    # A process with the settings of another and more: what the other's table says isn't said again.
    listed = [base for base in settings.__bases__ if (base.__module__, base.__name__) in CLASSES.values()]
    inherited = {name: field for base in listed for name, field in getattr(base, "model_fields", {}).items()}
    for field_name, field in settings.model_fields.items():
        if field_name in inherited and field.default == inherited[field_name].default:
            continue
        default = "required" if field.default is PydanticUndefined else f"`{field.default}`"
        rows.append(f"| `{prefix}{field_name}`".upper() + f" | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def find_dead_links() -> list[str]:
    """Return every relative link of a page that leads nowhere."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]


def find_missing_tests() -> list[str]:
    """Return every test that a page names, as `tests/…/test_x.py::test_y`, and that doesn't exist."""
    return [
        f"{page.relative_to(ROOT)}: {path}::{name} does not exist"
        for page in sorted((ROOT / "docs").rglob("*.md"))
        for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text())
        if not (ROOT / path).exists() or not re.search(rf"def {name}\(", (ROOT / path).read_text())
    ]


def main(arguments: list[str]) -> int:
    """Write or check, and return the exit status."""
    want = render_settings()
    if "--write" in arguments:
        PAGE.write_text(want)
    problems = find_dead_links() + find_missing_tests()
    if not PAGE.exists() or PAGE.read_text() != want:
        problems.append("docs/settings.md differs from the settings classes: run `make docs`")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
