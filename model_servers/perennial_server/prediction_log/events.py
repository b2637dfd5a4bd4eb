"""Predictions as CloudEvents 1.0, one for each request, in the batched JSON mode. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from perennial_server.prediction_log.tables import Table

CONTENT_TYPE = "application/cloudevents-batch+json; charset=utf-8"
EVENT_TYPE = "dev.perennial.prediction.v1"


def render_events(tables: Sequence[Table], *, source: str) -> bytes:
    """Write a batch of events.

    An event's id is the prediction's, and source and id together are unique: a mirrored copy has the live request's id
    and its own revision in the source. It carries the extension attribute ``shadow``.
    """
    events = [event for table in tables for event in _build_events(table, source)]
    return orjson.dumps(events, option=orjson.OPT_SERIALIZE_NUMPY)


def _build_events(table: Table, source: str) -> Iterator[dict[str, Any]]:
    start = 0
    flags = _group_flags(table)
    for origin, time_s, size in zip(table.origins, table.times_s, table.sizes, strict=True):
        end = start + size
        event: dict[str, Any] = {
            "specversion": "1.0",
            "type": EVENT_TYPE,
            "source": source,
            "id": origin.prediction_id,
            "time": _render_time(time_s),
            "datacontenttype": "application/json",
        }
        if table.is_shadow:
            event["shadow"] = True
        event["data"] = {
            "inputs": {name: values[start:end] for name, values in table.inputs.items()},
            "outputs": {name: values[start:end] for name, values in table.outputs.items()},
            "flags": [
                {**flag, "row": row - start} for row in range(start, end) for flag in flags.get(row, ())
            ],
        }
        yield event
        start = end


def _group_flags(table: Table) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for flag in table.flags:
        fields = {"row": 0, "column": flag.column, "kind": flag.kind, "action": flag.action}
        found.setdefault(flag.row, []).append(fields)
    return found


def _render_time(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat().replace("+00:00", "Z")
