"""Tell the observer what the model's rows looked like when it was made."""

import asyncio
import logging
from typing import Any

import orjson
import pandas as pd
from perennial_bundle import Bundle, Schema

from perennial_server.attempts import Refused, Undelivered
from perennial_server.observer_client import ObserverClient
from perennial_server.settings import Settings

logger = logging.getLogger(__name__)


async def post_reference(bundle: Bundle, client: ObserverClient, settings: Settings) -> None:
    """Send ``POST /v1/reference``, trying again for long: without it the observer can watch nothing."""
    body = await asyncio.to_thread(render_reference, bundle, settings.revision, settings.log_exclude)
    if body is None:
        logger.warning("every feature is excluded from the log, so the model can't be monitored")
        return
    try:
        await client.post("/v1/reference", body, attempts=settings.reference_attempts)
    except (Refused, Undelivered) as error:
        logger.warning("the observer didn't take the reference sample error=%s", error)


def render_reference(bundle: Bundle, revision: str, exclude: frozenset[str]) -> bytes | None:
    """Write the body of ``POST /v1/reference``, without excluded columns; None if no feature is left.

    The labels go along where the bundle has any: the observer learns from them how right the model's answers are.
    """
    schema, reference = bundle.schema, bundle.reference()
    inputs = tuple(column for column in schema.inputs if column.name not in exclude)
    if not any(column.role == "Feature" for column in inputs):
        return None
    excludes_time = schema.event_time is not None and schema.event_time.name in exclude
    has_time = reference.event_time is not None and not excludes_time
    return orjson.dumps(
        {
            "revision": revision,
            "bundle_digest": bundle.digest,
            "schema": Schema(inputs=inputs, outputs=schema.outputs).model_dump(mode="json"),
            "task": bundle.manifest.task,
            "classes": bundle.manifest.classes,
            "rows": {
                column.name: reference.sent[column.name] for column in inputs if column.name in reference.sent
            },
            "outputs": {name: values.tolist() for name, values in reference.outputs.items()},
            "event_time": reference.event_time.tolist()
            if has_time and reference.event_time is not None
            else None,
            "labels": None if reference.labels is None else reference.labels.tolist(),
        }
    )


def plain_values(values: "pd.Series[Any]") -> list[Any]:
    """Return a column's values as JSON has them, None for what is missing."""
    return values.astype(object).where(values.notna(), None).tolist()
