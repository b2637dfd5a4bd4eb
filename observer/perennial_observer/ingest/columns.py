"""Rows that come as columns, checked column by column. Pure.

Checking a column at a time costs a tenth of checking values one by one: nearly always the types that occur in it tell
that all of it fits.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import orjson
from perennial_bundle import Schema, event_time_seconds
from perennial_bundle.sampling import sample_place

from perennial_observer.store.rows import PredictionRow, RejectedRow, ShadowRow

__all__ = ["MAX_ROW_BYTES", "LoggedColumns", "Rules", "SplitRows", "split_columns", "split_shadow"]

MAX_ROW_BYTES = 256 << 10
# 1900. What is earlier is some system's zero, or in another unit; and no report can spell a time before the year 1.
EARLIEST_EVENT_S = -2_208_988_800.0

Columns = Mapping[str, Sequence[Any]]

_NUMBERS: frozenset[type] = frozenset({bool, int, float, type(None)})
_STRINGS: frozenset[type] = frozenset({str, type(None)})
_SCALARS = _NUMBERS | _STRINGS


@dataclass(frozen=True)
class Rules:
    """What a row must fit.

    Parameters
    ----------
    schema
        None before the revision's reference came: then only the shape is checked.
    event_time
        Column of the event time; None: the entry's own time.
    now, max_future_s
        Event times later than this many seconds after now are refused: they are mistakes, and would be the latest for long.
    max_place
        Share of all predictions that is kept: rows of those with a later place in the sample are left out, unseen.
    """

    schema: Schema | None
    event_time: str | None
    now: float
    max_future_s: float
    max_place: float = 1.0


@dataclass
class SplitRows:
    """The rows of a body, by what becomes of them."""

    fitting: list[PredictionRow] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    shadow: list[ShadowRow] = field(default_factory=list)
    unsampled: int = 0


@dataclass(frozen=True, slots=True)
class LoggedColumns:
    """Rows of one revision; every sequence has one item for each row, and so has every column.

    Parameters
    ----------
    rows
        A row's place in its request.
    times
        When it was predicted, by the server's clock.
    flags
        By place in these columns: what the server let through, as JSON.
    """

    revision: str
    ids: Sequence[str]
    rows: Sequence[int]
    times: Sequence[float]
    clients: Sequence[str | None]
    inputs: Columns
    outputs: Columns
    flags: Mapping[int, str] = field(default_factory=dict)


def split_columns(table: LoggedColumns, rules: Rules, into: SplitRows) -> None:
    """Separate rows that fit from those that don't, which carry a reason."""
    table = _choose_rows(table, rules.max_place, into)
    misfits = _find_misfits(table, rules.schema)
    event_times = _read_event_times(table, rules, misfits)
    inputs = _render_rows(table.inputs, len(table.ids))
    outputs = _render_rows(table.outputs, len(table.ids))
    for i, text in enumerate(inputs):
        reason = misfits.get(i, "")
        if not reason and len(text) > MAX_ROW_BYTES:
            reason, text = "RowTooLarge", "{}"  # noqa: PLW2901  what is kept of it
        if reason:
            into.rejected.append(
                RejectedRow(table.ids[i], table.rows[i], table.revision, reason, text[:MAX_ROW_BYTES])
            )
            continue
        into.fitting.append(
            PredictionRow(
                table.ids[i],
                table.rows[i],
                table.revision,
                event_times[i],
                text,
                outputs[i],
                table.clients[i],
                table.flags.get(i),
            )
        )


def split_shadow(table: LoggedColumns, rules: Rules, into: SplitRows) -> None:
    """Keep the answers to mirrored requests: their inputs are the live request's."""
    if not table.outputs:
        return
    table = _choose_rows(table, rules.max_place, into)
    into.shadow += (
        ShadowRow(table.ids[i], table.rows[i], table.revision, text)
        for i, text in enumerate(_render_rows(table.outputs, len(table.ids)))
        if len(text) <= MAX_ROW_BYTES
    )


def _choose_rows(table: LoggedColumns, max_place: float, into: SplitRows) -> LoggedColumns:
    """Leave out what isn't in the sample, whole requests, and count it."""
    if max_place >= 1.0:
        return table
    sampled = {name for name in set(table.ids) if sample_place(name) < max_place}
    kept = [i for i, name in enumerate(table.ids) if name in sampled]
    into.unsampled += len(table.ids) - len(kept)
    if len(kept) == len(table.ids):
        return table
    return LoggedColumns(
        revision=table.revision,
        ids=[table.ids[i] for i in kept],
        rows=[table.rows[i] for i in kept],
        times=[table.times[i] for i in kept],
        clients=[table.clients[i] for i in kept],
        inputs={name: [values[i] for i in kept] for name, values in table.inputs.items()},
        outputs={name: [values[i] for i in kept] for name, values in table.outputs.items()},
        flags={place: table.flags[i] for place, i in enumerate(kept) if i in table.flags},
    )


def _render_rows(columns: Columns, n: int) -> list[str]:
    if not columns:
        return ["{}"] * n
    names = tuple(columns)
    dumps = orjson.dumps
    return [dumps(dict(zip(names, row, strict=True))).decode() for row in zip(*columns.values(), strict=True)]


def _find_misfits(table: LoggedColumns, schema: Schema | None) -> dict[int, str]:
    """Say why rows don't fit the schema. Columns may be absent: the logger can be told to leave them out."""
    found: dict[int, str] = {}
    odd: list[tuple[str, Sequence[Any], frozenset[type]]] = []
    for name, values in table.inputs.items():
        kinds = set(map(type, values))
        if not kinds <= _SCALARS:
            _mark(found, "NotScalar", _not_of(values, _SCALARS))
        _mark(found, "NotFinite", _not_finite(values, kinds))
        if schema is None:
            continue
        column = schema.by_name.get(name)
        allowed = _STRINGS if column is not None and column.datatype == "BYTES" else _NUMBERS
        if column is None or not kinds <= allowed:
            odd.append((name, values, frozenset() if column is None else allowed))
    for values in table.outputs.values():
        kinds = set(map(type, values))
        _mark(found, "NotFinite", _not_finite(values, kinds))
        if not kinds <= _SCALARS:
            _mark(found, "InvalidOutput", (i for i, value in enumerate(values) if not _is_output(value)))
    for _, values, allowed in odd:
        _mark(found, "WrongType" if allowed else "UnknownColumn", _not_of(values, allowed))
    return found


def _mark(found: dict[int, str], reason: str, rows: Iterable[int]) -> None:
    """Note why rows don't fit; the first reason stands."""
    for i in rows:
        found.setdefault(i, reason)


def _not_of(values: Sequence[Any], kinds: frozenset[type]) -> list[int]:
    return [i for i, value in enumerate(values) if type(value) not in kinds]


def _not_finite(values: Sequence[Any], kinds: AbstractSet[type]) -> list[int]:
    """Find infinities, which JSON can't hold: nobody would see that they had become missing values."""
    if float not in kinds:
        return []
    try:
        # One sum costs a tenth of a look at each: it is finite where all are, or nearly always.
        if math.isfinite(sum(filter(None, values))):
            return []
    except (TypeError, OverflowError):
        pass
    return [i for i, value in enumerate(values) if type(value) is float and not math.isfinite(value)]


def _is_output(value: Any) -> bool:
    if isinstance(value, list):
        return all(
            type(item) in _SCALARS and (type(item) is not float or math.isfinite(item)) for item in value
        )
    return type(value) in _SCALARS


def _read_event_times(table: LoggedColumns, rules: Rules, misfits: dict[int, str]) -> Sequence[float]:
    """Event time of each row; a row without a sound one joins the misfits."""
    if rules.event_time is None:
        # A server's clock that is off must neither drag the watermark along nor bury its rows behind it.
        earliest = rules.now - rules.max_future_s
        return [time if earliest <= time <= rules.now else rules.now for time in table.times]
    values = table.inputs.get(rules.event_time)
    if values is None:
        _mark(misfits, "NoEventTime", range(len(table.ids)))
        return [0.0] * len(table.ids)
    try:
        times: list[float] = event_time_seconds(values).tolist()
    except (ValueError, OverflowError, TypeError):
        times = [_read_event_time(value, i, misfits) for i, value in enumerate(values)]
    _mark(misfits, "InvalidEventTime", (i for i, time in enumerate(times) if time < EARLIEST_EVENT_S))
    latest = rules.now + rules.max_future_s
    _mark(misfits, "EventTimeInFuture", (i for i, time in enumerate(times) if time > latest))
    return times


def _read_event_time(value: Any, row: int, misfits: dict[int, str]) -> float:
    if value is None:
        misfits.setdefault(row, "NoEventTime")
        return -math.inf
    try:
        return float(event_time_seconds([value])[0])
    except (ValueError, OverflowError, TypeError):
        misfits.setdefault(row, "InvalidEventTime")
        return -math.inf
