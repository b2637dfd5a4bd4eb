"""Many requests of one kind as columns, with only what leaves the server. Pure; the sender's thread calls it."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from perennial_bundle import Flag, Outputs, join
from perennial_bundle.rows import Values

from perennial_server.origin import Origin
from perennial_server.prediction_log.batch import LoggedBatch
from perennial_server.prediction_log.picking import pick
from perennial_server.prediction_log.selection import Selection


@dataclass(frozen=True, slots=True)
class Table:
    """Requests that have the same columns.

    Parameters
    ----------
    origins, times_s, sizes
        Of each request; a size is in rows.
    inputs, outputs
        Values of all rows: contiguous arrays of numbers in this machine's order, or lists that JSON can be written of.
    flags
        What the schema let through; a flag's row is one of the table's.
    """

    origins: Sequence[Origin]
    times_s: Sequence[float]
    sizes: Sequence[int]
    is_shadow: bool
    inputs: dict[str, Values]
    outputs: dict[str, Values]
    flags: Sequence[Flag]


def build_tables(batches: Sequence[LoggedBatch], selection: Selection) -> list[Table]:
    """Join batches of one kind, and leave out requests and columns that aren't logged."""
    kinds: dict[Hashable, list[LoggedBatch]] = {}
    for batch in batches:
        chosen = pick(batch, selection.sample(batch.origins))
        for part in _split_shadows(chosen):
            kinds.setdefault(_kind(part), []).append(part)
    tables = (_join(parts, selection) for parts in kinds.values())
    return [table for table in tables if table.inputs or table.outputs]


def _split_shadows(batch: LoggedBatch) -> Iterator[LoggedBatch]:
    """Separate mirrored requests from live ones; nearly always a batch has one sort."""
    shadows = [i for i, origin in enumerate(batch.origins) if origin.is_shadow]
    if 0 < len(shadows) < len(batch.origins):
        yield pick(batch, sorted(set(range(len(batch.origins))) - set(shadows)))
        yield pick(batch, shadows)
    elif batch.origins:
        yield batch


def _kind(batch: LoggedBatch) -> Hashable:
    outputs = ((name, values.dtype, values.shape[1:]) for name, values in batch.outputs.items())
    return batch.origins[0].is_shadow, batch.rows.layout(), *outputs


def _join(batches: Sequence[LoggedBatch], selection: Selection) -> Table:
    rows = join([batch.rows for batch in batches], order="F")
    inputs = selection.choose_inputs(rows)
    outputs = selection.choose_outputs(_join_outputs([batch.outputs for batch in batches]))
    return Table(
        origins=list(chain.from_iterable(batch.origins for batch in batches)),
        times_s=[batch.time_s for batch in batches for _ in batch.sizes],
        sizes=list(chain.from_iterable(batch.sizes for batch in batches)),
        is_shadow=batches[0].origins[0].is_shadow,
        inputs={name: _writable(values) for name, values in inputs.items()},
        outputs={name: _writable(values) for name, values in outputs.items()},
        flags=_join_flags(batches, selection),
    )


def _join_outputs(parts: Sequence[Outputs]) -> Outputs:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _join_flags(batches: Sequence[LoggedBatch], selection: Selection) -> list[Flag]:
    flags: list[Flag] = []
    start = 0
    for batch in batches:
        flags += (
            Flag(start + flag.row, flag.column, flag.kind, flag.action)
            for flag in batch.flags
            if selection.logs_flags_of(flag.column)
        )
        start += batch.rows.n
    return flags


def _writable(values: Values) -> Values:
    """Bring an array into the form that can be written as it is; lists are as they came."""
    if not isinstance(values, np.ndarray):
        return values
    if values.dtype.kind in "biuf":
        return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    plain: list[Any] = values.tolist()
    return plain
