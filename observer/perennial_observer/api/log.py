"""What servers send: log entries and the reference sample."""

import asyncio
from dataclasses import replace
from typing import Annotated, Any, Literal

import anyio.to_thread
import orjson
from perennial_api.labels import ServiceAccountRole
from perennial_bundle import Schema
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from starlette.requests import Request
from starlette.responses import Response

from perennial_observer.api.bodies import answer_json, read_model
from perennial_observer.api.context import context_of, find_deployment, identify
from perennial_observer.api.tensors import TENSORS_TYPE, read_tensors
from perennial_observer.errors import InvalidRequest
from perennial_observer.ingest.entries import LogBody, Revision, Rules, SplitRows, split_entries
from perennial_observer.ingest.event_time import Placing
from perennial_observer.store.log import write_log
from perennial_observer.store.references import write_reference
from perennial_observer.store.rows import DeploymentKey

__all__ = ["post_log", "post_log_of", "post_reference"]

MAX_REFERENCE_ROWS = 5_000


class ReferenceBody(BaseModel):
    """Body of ``POST /v1/reference``."""

    model_config = ConfigDict(frozen=True)

    revision: Revision
    bundle_digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    schema_: Annotated[Schema, Field(alias="schema")]
    task: Literal["Classification", "Regression"]
    rows: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    event_time: list[FiniteFloat] | None = None
    labels: list[bool | int | float | str | None] | None = None
    classes: list[bool | int | str] | None = None

    @model_validator(mode="after")
    def _check_rows(self) -> "ReferenceBody":
        lengths = {len(values) for values in (*self.rows.values(), *self.outputs.values())}
        if self.event_time is not None:
            lengths.add(len(self.event_time))
        if self.labels is not None:
            lengths.add(len(self.labels))
        if len(lengths) != 1 or not self.rows:
            raise ValueError(
                "rows, outputs, event_time and labels must have one length and at least one column"
            )
        if not 1 <= max(lengths) <= MAX_REFERENCE_ROWS:
            raise ValueError(f"a reference has 1 to {MAX_REFERENCE_ROWS} rows")
        if self.event_time is not None and any(
            later < earlier for earlier, later in zip(self.event_time, self.event_time[1:], strict=False)
        ):
            raise ValueError("rows must be in time order: sort them by event_time")
        return self


async def post_log(request: Request) -> Response:
    """``POST /v1/log``: what a server predicted.

    The body is ``{"revision": str, "percent": int, "groups": [...]}``, compressed by zstd or gzip or not at all. A
    group holds many requests that have the same columns: ``{"ids": [str], "times": [epoch seconds], "sizes": [rows],
    "clients": [str or null] (optional), "shadow": bool (optional: they are mirrored), "inputs": {column: [values]},
    "outputs": {name: [values]}, "flags": [[row, column, kind, action]] (optional)}``, the columns with the values of
    all its rows. Names are written once and columns are checked as a whole, which makes a row cheap on both sides.
    For whom that is too much there is ``"entries"`` in place of (or beside) ``"groups"``, one object a request. Columns
    of numbers are cheapest as tensors beside the JSON; see `perennial_observer.api.tensors`.
    """
    return await _take(request, (await identify(request)).require(ServiceAccountRole.SERVER))


async def post_log_of(request: Request) -> Response:
    """``POST /v1/namespaces/<ns>/deployments/<name>/log``: what the gateway logs for a server that keeps no log.

    The gateway stands between every deployment and its clients, and chooses who is answered by whom: it is trusted to say
    whose answer it was, as no server is.
    """
    (await identify(request)).require_role(ServiceAccountRole.GATEWAY)
    return await _take(request, await find_deployment(request))


async def _take(request: Request, key: DeploymentKey) -> Response:
    context = context_of(request)
    context.store.require_room()
    body, size = await read_model(
        request, LogBody, context.settings.max_body_bytes, {TENSORS_TYPE: read_tensors}
    )
    now = context.clock()
    # By the wall clock a correction would stop the rate from falling, and rows within the limit would be left out.
    steady = context.monotonic()
    context.shares.note(key, body.revision, body.percent, now=steady)
    deployment = context.registry.get(key.uid)
    max_rows_per_s = None if deployment is None else deployment.spec.monitoring.max_rows_per_second
    share = context.shares.choose(key, body.n_rows, max_rows_per_s, now=steady)

    def split() -> tuple[SplitRows, Placing]:
        schema = context.event_times.schema(key, body.revision)
        column = context.event_times.column(key, schema)
        rules = Rules(
            schema,
            column,
            now,
            context.settings.max_future_s,
            max_place=share * body.percent / 100.0 if share < 1.0 else 1.0,
        )
        return split_entries(body, rules), context.event_times.placing(key, column)

    rows, placing = await anyio.to_thread.run_sync(split)
    max_rejected = context.settings.max_rejected_rows
    future = context.store.writer.submit(
        lambda connection: write_log(
            connection,
            key,
            rows.fitting,
            rows.rejected,
            rows.shadow,
            now=now,
            max_rejected=max_rejected,
            place=placing.place,
        ),
        size,
    )
    counts = replace(await asyncio.wrap_future(future), unsampled=rows.unsampled)
    context.shares.count(key, body.n_rows, now=steady)
    context.metrics.count_log(key, counts)
    return answer_json(
        {
            "accepted": counts.accepted,
            "duplicates": counts.duplicates,
            "rejected": counts.rejected,
            "shadow": counts.shadow,
            "unsampled": counts.unsampled,
            "reasons": dict(counts.reasons),
        },
        202,
    )


async def post_reference(request: Request) -> Response:
    """``POST /v1/reference``."""
    context = context_of(request)
    key = (await identify(request)).require(ServiceAccountRole.SERVER)
    body, size = await read_model(request, ReferenceBody, context.settings.max_body_bytes)
    unknown = set(body.rows) - set(body.schema_.by_name)
    if unknown:
        raise InvalidRequest(
            f"rows has columns that the schema lacks: {sorted(unknown)[:5]}", "UnknownColumn"
        )
    content = await anyio.to_thread.run_sync(
        lambda: orjson.dumps(body.model_dump(mode="json", by_alias=True))
    )
    now = context.clock()
    future = context.store.writer.submit(
        lambda connection: write_reference(connection, key, body.revision, content, now=now), size
    )
    await asyncio.wrap_future(future)
    context.event_times.remember(key, body.revision, body.schema_)
    return Response(status_code=204)
