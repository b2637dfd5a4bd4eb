"""What training Jobs read: how far event time has come, and labelled rows as Parquet."""

import math
import os
import tempfile
from pathlib import Path

import anyio.to_thread
from perennial_api.labels import ServiceAccountRole
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from perennial_observer.api.bodies import answer_json
from perennial_observer.api.context import Context, context_of, identify
from perennial_observer.errors import InvalidRequest
from perennial_observer.export import write_export
from perennial_observer.store.reads import read_counts
from perennial_observer.store.rows import Counts, DeploymentKey

__all__ = ["get_export", "get_watermark"]


async def get_watermark(request: Request) -> Response:
    """``GET /v1/watermark``."""
    context = context_of(request)
    key = (await identify(request)).require(ServiceAccountRole.TRAINER)

    def read() -> tuple[Counts, float | None]:
        with context.store.read() as connection:
            counts = read_counts(connection, key.uid)
        return counts, context.event_times.watermark(key, counts.latest_event)

    counts, watermark = await anyio.to_thread.run_sync(read)
    return answer_json({"watermark": watermark, "predictions": counts.predictions, "labels": counts.labels})


async def get_export(request: Request) -> Response:
    """``GET /v1/export?since=<epoch>&until=<epoch>``."""
    context = context_of(request)
    key = (await identify(request)).require(ServiceAccountRole.TRAINER)
    since, until = _read_time(request, "since", -math.inf), _read_time(request, "until", math.inf)
    path = await anyio.to_thread.run_sync(lambda: _write(context, key, since, until))
    return FileResponse(
        path,
        media_type="application/vnd.apache.parquet",
        background=BackgroundTask(path.unlink, missing_ok=True),
    )


def _write(context: Context, key: DeploymentKey, since: float, until: float) -> Path:
    handle, name = tempfile.mkstemp(prefix=".export-", dir=context.settings.data_dir)
    os.close(handle)
    path = Path(name)
    try:
        write_export(context.store, key, path, since=since, until=until)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _read_time(request: Request, name: str, default: float) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise InvalidRequest(f"{name} must be seconds since the epoch", "InvalidParameter")
    return value
