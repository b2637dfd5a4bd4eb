"""Tables as the observer takes them; see its ``POST /v1/log``. Pure."""

from collections.abc import Sequence
from typing import Any

import orjson

from perennial_server.prediction_log.tables import Table


def render_log_body(tables: Sequence[Table], *, revision: str, percent: int) -> bytes:
    """Write a message to the observer; a missing value, or a number that JSON hasn't got, is null."""
    groups = [_build_group(table) for table in tables]
    return orjson.dumps(
        {"revision": revision, "percent": percent, "groups": groups}, option=orjson.OPT_SERIALIZE_NUMPY
    )


def _build_group(table: Table) -> dict[str, Any]:
    group: dict[str, Any] = {
        "ids": [origin.prediction_id for origin in table.origins],
        "times": table.times_s,
        "sizes": table.sizes,
        "inputs": table.inputs,
        "outputs": table.outputs,
    }
    clients = [origin.client for origin in table.origins]
    if any(clients):
        group["clients"] = clients
    if table.is_shadow:
        group["shadow"] = True
    if table.flags:
        group["flags"] = [(flag.row, flag.column, flag.kind, flag.action) for flag in table.flags]
    return group
