"""Labels, sent by whoever knows a prediction's id."""

import asyncio
from dataclasses import replace
from typing import Annotated

import anyio.to_thread
import orjson
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictBool, StrictInt, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from perennial_observer.api.bodies import answer_json, read_model
from perennial_observer.api.context import context_of, find_deployment
from perennial_observer.ingest.entries import PredictionId
from perennial_observer.ingest.labels import is_mistyped
from perennial_observer.store.log import register_deployment, write_feedback
from perennial_observer.store.rows import LabelRow

__all__ = ["post_feedback"]

MAX_LABELS = 10_000
MAX_ROW = 2**31 - 1


class FeedbackItem(BaseModel):
    """One label."""

    model_config = ConfigDict(frozen=True)

    prediction_id: PredictionId
    row: Annotated[int, Field(ge=0, le=MAX_ROW)] = 0
    label: StrictBool | StrictInt | FiniteFloat | Annotated[StrictStr, Field(max_length=256)]


class FeedbackBody(BaseModel):
    """Body of the feedback call."""

    model_config = ConfigDict(frozen=True)

    feedback: Annotated[list[FeedbackItem], Field(max_length=MAX_LABELS)]


async def post_feedback(request: Request) -> Response:
    """``POST /v1/namespaces/<ns>/deployments/<name>/feedback``."""
    context = context_of(request)
    context.store.require_room()
    body, size = await read_model(request, FeedbackBody, context.settings.max_feedback_bytes)
    key = await find_deployment(request)
    schemas = await anyio.to_thread.run_sync(context.event_times.schemas, key)
    labels = [
        LabelRow(item.prediction_id, item.row, orjson.dumps(item.label).decode())
        for item in body.feedback
        if not is_mistyped(item.label, schemas)
    ]
    now, max_pending = context.clock(), context.settings.max_pending_labels
    future = context.store.writer.submit(
        lambda connection: write_feedback(
            connection,
            register_deployment(connection, key),
            labels,
            now=now,
            max_pending=max_pending,
            may_come=lambda prediction_id: context.shares.may_come(key, prediction_id),
        ),
        size,
    )
    counts = replace(await asyncio.wrap_future(future), mistyped=len(body.feedback) - len(labels))
    context.metrics.count_feedback(key, counts)
    return answer_json(
        {
            "accepted": counts.accepted,
            "duplicates": counts.duplicates,
            "conflicts": counts.conflicts,
            "unknown": counts.unknown,
            "unsampled": counts.unsampled,
            "mistyped": counts.mistyped,
        }
    )
