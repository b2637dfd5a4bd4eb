"""``python -m perennial_bundle``: look into a bundle (``inspect``, ``schema``, ``report``) and pack it (``pack``)."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from perennial_bundle.archive import pack
from perennial_bundle.bundle import Bundle, load
from perennial_bundle.editing import edit_schema
from perennial_bundle.errors import BundleError, InvalidBundle
from perennial_bundle.schema import Column
from perennial_bundle.showing import read_changes, render_schema


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 if the bundle is sound."""
    parser = argparse.ArgumentParser(prog="python -m perennial_bundle")
    commands = parser.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="check a bundle and print what it holds")
    inspect.add_argument("directory", type=Path)
    inspect.add_argument("--model", action="store_true", help="load the model, too")
    schema = commands.add_parser("schema", help="print a bundle's inputs, or change their policies")
    schema.add_argument("directory", type=Path)
    schema.add_argument(
        "--set",
        action="append",
        default=[],
        dest="changes",
        metavar="COLUMN.FIELD=VALUE",
        help="such as age.missing=Impute or age.maximum=120; may be given several times",
    )
    schema.add_argument("--json", action="store_true", help="print the whole schema as JSON")
    packing = commands.add_parser("pack", help="check a bundle, write its tar and print its digest")
    packing.add_argument("directory", type=Path)
    packing.add_argument(
        "tar", type=Path, nargs="?", help="a new file; without it only the digest is printed"
    )
    report = commands.add_parser("report", help="weigh what each feature contributes against what it costs")
    report.add_argument("directory", type=Path)
    report.add_argument("--json", action="store_true", help="print it as JSON")
    arguments = parser.parse_args(argv)
    run = {"inspect": _inspect, "schema": _schema, "pack": _pack, "report": _report}[arguments.command]
    try:
        print(run(arguments))
    except BundleError as error:
        print(f"{error.reason}: {error}", file=sys.stderr)
        return 1
    return 0


def _inspect(arguments: argparse.Namespace) -> str:
    bundle = load(arguments.directory)
    if arguments.model:
        _ = bundle.scorer
    return render_summary(bundle)


def _schema(arguments: argparse.Namespace) -> str:
    bundle = load(arguments.directory)
    if arguments.changes:
        bundle = edit_schema(arguments.directory, read_changes(arguments.changes, bundle.schema))
    if arguments.json:
        return bundle.schema.model_dump_json(indent=2)
    return f"{render_schema(bundle.schema)}\n\ndigest {bundle.digest}"


def _pack(arguments: argparse.Namespace) -> str:
    bundle = load(arguments.directory)
    if arguments.tar is None:
        return bundle.digest
    try:
        with arguments.tar.open("xb") as file:
            return pack(arguments.directory, file)
    except OSError as error:
        raise InvalidBundle(f"{arguments.tar} can't be written: {error.strerror}") from error


def _report(arguments: argparse.Namespace) -> str:
    # Loads the model and may load shap, which takes seconds: other commands don't wait for it.
    from perennial_bundle.explaining.report import build_report, render_report

    report = build_report(load(arguments.directory))
    return json.dumps(report.to_dict(), indent=2) if arguments.json else render_report(report)


def render_summary(bundle: Bundle) -> str:
    """Describe a bundle in a screenful."""
    manifest, reference = bundle.manifest, bundle.reference()
    lines = [
        f"{manifest.name} ({manifest.task}, {manifest.format})",
        f"digest     {bundle.digest}",
        f"created    {manifest.created_at:%Y-%m-%d %H:%M} with {', '.join(f'{k} {v}' for k, v in manifest.libraries.items())}",
        f"reference  {len(reference.inputs)} rows, "
        + ("with labels" if reference.labels is not None else "without labels"),
    ]
    if manifest.classes is not None:
        lines.append(f"classes    {', '.join(map(str, manifest.classes))}")
    lines.append("inputs")
    lines.extend(_render_column(column) for column in bundle.schema.inputs)
    lines.append("outputs")
    lines.extend(_render_column(column) for column in bundle.schema.outputs)
    return "\n".join(lines)


def _render_column(column: Column) -> str:
    notes: list[str] = [] if column.role in {"Feature", "Output"} else [column.role]
    if column.minimum is not None and column.maximum is not None:
        notes.append(f"{column.minimum:g} to {column.maximum:g}, outside: {column.out_of_range}")
    if column.categories is not None:
        notes.append(f"{len(column.categories)} categories, unknown: {column.unknown_category}")
    if column.role not in {"Output", "Member"}:
        notes.append(f"missing: {column.missing}")
    return f"  {column.name:<24} {column.datatype:<6} {'; '.join(notes)}".rstrip()


if __name__ == "__main__":
    raise SystemExit(main())
