"""One part: its rows in, a table of predictions and one of rejects out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from perennial_bundle import Bundle, Checked, Flag, Outputs, Rows

from perennial_server.batch.columns import build_rows, type_table
from perennial_server.batch.errors import BatchError
from perennial_server.batch.inputs import Block
from perennial_server.batch.plan import InputFile, Plan
from perennial_server.batch.sifting import Reject, sift

ID = "prediction_id"
FLAGS = "flags"
REJECT_COLUMNS = ("__file", "__row", "__column", "__reason", "__message")


@dataclass(frozen=True)
class Scored:
    """What becomes of a part.

    Parameters
    ----------
    table, rejects
        To be written.
    rows, outputs, flags, ids
        Of the rows that were scored, for the log.
    """

    table: pa.Table
    rejects: pa.Table
    rows: Rows
    outputs: Outputs
    flags: tuple[Flag, ...]
    ids: tuple[str, ...]


def score_block(bundle: Bundle, plan: Plan, file: InputFile, block: Block) -> Scored:
    """Score a part.

    Raises
    ------
    BatchError
        The model raises on rows that its schema allows.
    """
    table = block.table
    rows = build_rows(bundle.schema, table)
    sifted = sift(bundle.schema, rows)
    places = _places(block)
    ids = tuple(_build_id(plan.bundle_digest, file, block.first_row + places[row]) for row in sifted.fitting)
    outputs = _predict(bundle, sifted.checked, file, block)
    flags = sifted.checked.flags if sifted.checked is not None else ()
    kept = table.take(pa.array(sifted.fitting, type=pa.int64()))
    if file.format == "Csv" and plan.output_format == "Parquet":
        kept = type_table(bundle.schema, kept, sifted.rows)
    if plan.keep is not None:
        kept = kept.select([name for name in kept.column_names if name in plan.keep])
    for name, values in name_outputs(bundle, outputs).items():
        kept = kept.append_column(name, values)
    kept = kept.append_column(ID, pa.array(ids, type=pa.string()))
    kept = kept.append_column(FLAGS, pa.array(render_flags(flags, len(ids)), type=pa.string()))
    rejects = build_rejects(file, block, places, sifted.rejects)
    return Scored(kept, rejects, sifted.rows, outputs, flags, ids)


def _places(block: Block) -> list[int]:
    """Return where each row of the table stands among the part's rows: bad lines aren't in the table."""
    if not block.bad:
        return list(range(block.table.num_rows))
    bad = {line.place for line in block.bad}
    return [place for place in range(block.part.rows) if place not in bad]


def _build_id(digest: str, file: InputFile, row: int) -> str:
    """Name a prediction: the same at every start, another for another bundle or content."""
    key = f"{digest}|{file.path}|{file.size_bytes}|{file.version}|{row}"
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def _predict(bundle: Bundle, checked: Checked | None, file: InputFile, block: Block) -> Outputs:
    if checked is None:
        # No row fits: the output still has its columns, so that all parts of it are of one shape.
        return {
            name: values[:0] for name, values in bundle.predict(bundle.reference().inputs.iloc[:1]).items()
        }
    try:
        return bundle.predict(checked.frame)
    except Exception as error:
        # A model is somebody else's code: whatever it raises ends the job, since other rows would fare no better.
        raise BatchError(
            f"the model failed on {block.part.rows} rows of {file.path} from row {block.first_row} on: "
            f"{type(error).__name__}: {str(error)[:500]}"
        ) from error


def output_names(bundle: Bundle) -> list[str]:
    """Return the output's columns that aren't the input's."""
    reference = bundle.predict(bundle.reference().inputs.iloc[:1])
    return [*name_outputs(bundle, reference), ID, FLAGS]


def name_outputs(bundle: Bundle, outputs: Outputs) -> dict[str, pa.Array]:
    """Return outputs as flat columns; one with a value for each class becomes a column for each.

    What an ensemble's members say is logged, and isn't part of the answer.
    """
    columns: dict[str, pa.Array] = {}
    classes = bundle.manifest.classes or ()
    for column in bundle.schema.outputs:
        if column.role == "Member":
            continue
        values = outputs[column.name]
        if values.ndim == 1:
            columns[column.name] = pa.array(values.tolist() if values.dtype == object else values)
            continue
        named = classes if len(classes) == values.shape[1] else range(values.shape[1])
        for place, name in enumerate(named):
            columns[f"{column.name}_{name}"] = pa.array(values[:, place])
    return columns


def render_flags(flags: Sequence[Flag], n: int) -> list[str]:
    """Write each row's flags into one cell: ``column:kind:action``, separated by ``;``."""
    cells = [""] * n
    for flag in flags:
        text = f"{flag.column}:{flag.kind}:{flag.action}"
        cells[flag.row] = f"{cells[flag.row]};{text}" if cells[flag.row] else text
    return cells


def build_rejects(file: InputFile, block: Block, places: list[int], rejects: Sequence[Reject]) -> pa.Table:
    """Build the table of rejects: where, why, and the row as it was (a bad line's text is in the message)."""
    found: list[tuple[int, str, str, str, int | None]] = [
        (block.first_row + places[reject.row], reject.column, reject.reason, reject.message, reject.row)
        for reject in rejects
    ]
    found += [
        (block.first_row + line.place, "", "BadLine", f"{line.message}: {line.text}", None)
        for line in block.bad
    ]
    found.sort(key=lambda one: one[0])
    rows = [one[4] for one in found]
    values = [
        pa.array([file.path] * len(found), type=pa.string()),
        pa.array([one[0] for one in found], type=pa.int64()),
        *(pa.array([one[i] for one in found], type=pa.string()) for i in (1, 2, 3)),
    ]
    original = block.table.take(pa.array(rows, type=pa.int64()))
    return pa.table([*values, *original.columns], names=[*REJECT_COLUMNS, *original.column_names])
