"""Log entries as the server sends them, checked row by row. Pure."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

import orjson
from perennial_bundle import Column, Schema, event_time_seconds
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from perennial_observer.store.rows import PredictionRow, RejectedRow, ShadowRow

__all__ = ["LogBody", "LogEntry", "Rules", "SplitRows", "split_entries"]

MAX_ENTRIES = 10_000
MAX_ROW_BYTES = 256 << 10

PredictionId = Annotated[str, Field(min_length=1, max_length=128)]
Revision = Annotated[str, Field(min_length=1, max_length=63)]


class LogEntry(BaseModel):
    """One request's rows, by column."""

    model_config = ConfigDict(frozen=True)

    prediction_id: PredictionId
    time: FiniteFloat
    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    client: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    shadow: bool = False


class LogBody(BaseModel):
    """Body of ``POST /v1/log``."""

    model_config = ConfigDict(frozen=True)

    revision: Revision
    entries: Annotated[list[LogEntry], Field(max_length=MAX_ENTRIES)]


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
        Event times later than this many seconds after now are refused: one of them would drag the watermark along.
    """

    schema: Schema | None
    event_time: str | None
    now: float
    max_future_s: float


@dataclass
class SplitRows:
    """The rows of a body, by what becomes of them."""

    fitting: list[PredictionRow] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    shadow: list[ShadowRow] = field(default_factory=list)


def split_entries(body: LogBody, rules: Rules) -> SplitRows:
    """Separate rows that fit from those that don't (which carry a reason), and both from mirrored ones.

    Of a mirrored request only the answer is kept: its inputs are the live request's.
    """
    result = SplitRows()
    for entry in body.entries:
        if entry.shadow:
            result.shadow += _read_shadow(entry, body.revision)
            continue
        lengths = {len(values) for values in (*entry.inputs.values(), *entry.outputs.values())}
        if len(lengths) != 1 or not entry.outputs:
            reason = "LengthMismatch" if len(lengths) > 1 else "NoRows"
            result.rejected.append(RejectedRow(entry.prediction_id, 0, body.revision, reason, "{}"))
            continue
        for row in range(lengths.pop()):
            inputs = {name: values[row] for name, values in entry.inputs.items()}
            outputs = {name: values[row] for name, values in entry.outputs.items()}
            event_time, reason = _judge(inputs, outputs, entry, rules)
            text = orjson.dumps(inputs).decode()
            if not reason and len(text) > MAX_ROW_BYTES:
                reason, text = "RowTooLarge", "{}"
            if reason:
                result.rejected.append(
                    RejectedRow(entry.prediction_id, row, body.revision, reason, text[:MAX_ROW_BYTES])
                )
                continue
            result.fitting.append(
                PredictionRow(
                    prediction_id=entry.prediction_id,
                    row=row,
                    revision=body.revision,
                    event_time=event_time,
                    inputs=text,
                    outputs=orjson.dumps(outputs).decode(),
                    client=entry.client,
                )
            )
    return result


def _read_shadow(entry: LogEntry, revision: str) -> list[ShadowRow]:
    """Rows of a mirrored answer; one whose columns differ in length compares with nothing."""
    if len({len(values) for values in entry.outputs.values()}) != 1:
        return []
    names = entry.outputs.keys()
    rows = (
        orjson.dumps(dict(zip(names, row, strict=True))).decode()
        for row in zip(*entry.outputs.values(), strict=True)
    )
    return [
        ShadowRow(entry.prediction_id, i, revision, text)
        for i, text in enumerate(rows)
        if len(text) <= MAX_ROW_BYTES
    ]


def _judge(
    inputs: dict[str, Any], outputs: dict[str, Any], entry: LogEntry, rules: Rules
) -> tuple[float, str]:
    """Event time of one row, and why it doesn't fit ("" if it does)."""
    reason = _misfit(inputs, outputs, rules.schema)
    if reason:
        return 0.0, reason
    if rules.event_time is not None:
        return _read_event_time(inputs.get(rules.event_time), rules)
    # A server's clock that is off must neither drag the watermark along nor bury its rows behind it.
    is_plausible = rules.now - rules.max_future_s <= entry.time <= rules.now
    return (entry.time if is_plausible else rules.now), ""


def _read_event_time(value: Any, rules: Rules) -> tuple[float, str]:
    if value is None:
        return 0.0, "NoEventTime"
    try:
        event_time = float(event_time_seconds([value])[0])
    except (ValueError, OverflowError, TypeError):
        return 0.0, "InvalidEventTime"
    return event_time, "EventTimeInFuture" if event_time > rules.now + rules.max_future_s else ""


def _misfit(inputs: dict[str, Any], outputs: dict[str, Any], schema: Schema | None) -> str:
    """Why a row doesn't fit the schema. Columns may be absent: the logger can be told to leave them out."""
    if not all(_is_scalar(value) for value in inputs.values()):
        return "NotScalar"
    if not all(_is_scalar(value) or _is_vector(value) for value in outputs.values()):
        return "InvalidOutput"
    if schema is None:
        return ""
    for name, value in inputs.items():
        column = schema.by_name.get(name)
        if column is None:
            return "UnknownColumn"
        if value is not None and not _fits(column, value):
            return "WrongType"
    return ""


def _fits(column: Column, value: Any) -> bool:
    if column.datatype == "BYTES":
        return isinstance(value, str)
    return isinstance(value, bool | int | float) and math.isfinite(value)


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and all(_is_scalar(item) for item in value)
