"""What monitors found, as JSON: the latest verdicts, the windows before them, and the explanation of a breach.

A token of the deployment's own ServiceAccounts reads it, and reads no other deployment's: who may make such a token is
said by the namespace's RBAC.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import anyio.to_thread
from perennial_api.labels import ServiceAccountRole
from perennial_api.monitorreport import MonitorVerdict
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from perennial_observer.api.bodies import answer_json
from perennial_observer.api.context import Context, context_of, identify
from perennial_observer.errors import Forbidden, InvalidRequest, NotFound
from perennial_observer.monitors.alarms.silence import show_monitor
from perennial_observer.monitors.alarms.verdicts import utc_text
from perennial_observer.monitors.windows.history import JudgedWindow, find_window, read_span, read_windows
from perennial_observer.monitors.windows.records import read_memories
from perennial_observer.store.log import find_deployment_id
from perennial_observer.store.rows import DeploymentKey
from perennial_observer.store.scores import RowScore, read_oddest, read_scores

__all__ = ["get_monitors", "get_scores", "get_window", "get_windows"]

DEFAULT_PAGE, LARGEST_PAGE = 100, 1_000
MOST_ODD_ROWS = 20
# Ids are 64-bit integers in both databases.
LARGEST_ID = 2**63 - 1

_Found = TypeVar("_Found")


async def get_monitors(request: Request) -> Response:
    """``GET /v1/deployments/{namespace}/{name}/monitors``: the latest verdicts."""
    key = await _require_own(request)
    context = context_of(request)
    verdicts = await anyio.to_thread.run_sync(lambda: _read_verdicts(context, key))
    return answer_json({"monitors": [verdict.to_api() for verdict in verdicts]})


async def get_windows(request: Request) -> Response:
    """``GET …/monitors/{monitor}/windows?since=<epoch>&before=<id>&limit=<n>``: a page, the newest first."""
    key = await _require_own(request)
    monitor = request.path_params["monitor"]
    since = _read_number(request, "since", -math.inf)
    before = _read_whole(request, "before", LARGEST_ID, LARGEST_ID)
    limit = _read_whole(request, "limit", DEFAULT_PAGE, LARGEST_PAGE)

    def read(connection: Connection, deployment_id: int) -> list[JudgedWindow]:
        return read_windows(connection, deployment_id, monitor, since=since, before=before, limit=limit)

    found = await _read(context_of(request), key, read) or []
    more = found[-1].id if len(found) == limit else None
    return answer_json({"windows": [_render(window) for window in found], "next": more})


async def get_window(request: Request) -> Response:
    """``GET …/monitors/{monitor}/windows/{id}``: one window with its features, its explanation and oddest rows."""
    key = await _require_own(request)
    text, monitor = request.path_params["id"], request.path_params["monitor"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_ID)) else 0

    def read(connection: Connection, deployment_id: int) -> tuple[JudgedWindow | None, list[RowScore]]:
        id_ = min(number, LARGEST_ID)
        window, span = find_window(connection, deployment_id, id_), read_span(connection, deployment_id, id_)
        if window is None or span is None or window.monitor != monitor:
            return None, []
        rows = read_oddest(
            connection,
            deployment_id,
            monitor,
            span.revision,
            after=span.after,
            last=span.last,
            limit=MOST_ODD_ROWS,
        )
        return window, rows

    found, oddest = await _read(context_of(request), key, read) or (None, [])
    if found is None:
        raise NotFound(f"the monitor {monitor[:63]!r} has no window {text[:20]!r}: list its windows")
    detail = {
        "features": [
            {"name": name, "statistic": value} for name, value in found.verdict.get("features") or ()
        ],
        "explanation": found.verdict.get("explanation"),
        "oddest": [{"predictionId": row.prediction_id, "row": row.row, "score": row.score} for row in oddest],
    }
    return answer_json({**_render(found), **detail})


async def get_scores(request: Request) -> Response:
    """``GET /v1/deployments/{namespace}/{name}/predictions/{id}/scores``: how odd its rows are, as far as it is known."""
    key = await _require_own(request)
    id_ = request.path_params["id"]
    found = await _read(context_of(request), key, lambda c, deployment_id: read_scores(c, deployment_id, id_))
    scores = [{"row": one.row, "monitor": one.monitor, "score": one.score} for one in found or ()]
    return answer_json({"scores": scores})


async def _require_own(request: Request) -> DeploymentKey:
    caller = await identify(request)
    key = caller.require(ServiceAccountRole.SERVER, ServiceAccountRole.TRAINER)
    if (key.namespace, key.name) != (request.path_params["namespace"], request.path_params["name"]):
        raise Forbidden(
            f"this token may read the monitors of {key.namespace}/{key.name} only", "OtherDeployment"
        )
    return key


def _read_verdicts(context: Context, key: DeploymentKey) -> list[MonitorVerdict]:
    """Take the latest look's, or what is stored where another replica looks at this deployment."""
    report = context.reports().get(key.uid)
    if report is not None:
        return list(report.status.monitors)
    deployment = context.registry.get(key.uid)
    monitors = deployment.spec.monitoring.monitors if deployment is not None else ()
    with context.store.read() as connection:
        deployment_id = find_deployment_id(connection, key.uid)
        memories = {} if deployment_id is None else read_memories(connection, deployment_id)
    return [show_monitor(m, memories[m.name], key.uid) for m in monitors if m.name in memories]


async def _read(
    context: Context, key: DeploymentKey, query: Callable[[Connection, int], _Found]
) -> _Found | None:
    """Run a query for a deployment; None if it has never sent anything."""

    def read() -> _Found | None:
        with context.store.read() as connection:
            deployment_id = find_deployment_id(connection, key.uid)
            return None if deployment_id is None else query(connection, deployment_id)

    return await anyio.to_thread.run_sync(read)


def _render(window: JudgedWindow) -> dict[str, Any]:
    verdict = window.verdict
    return {
        "id": window.id,
        "monitor": window.monitor,
        "revision": window.revision,
        "windowStart": utc_text(window.start),
        "windowEnd": utc_text(window.end),
        "evaluatedAt": utc_text(window.evaluated_at),
        "samples": window.samples,
        "breached": window.breached,
        "state": verdict.get("state"),
        "breachId": verdict.get("breach_id"),
        "reason": verdict.get("reason"),
        "message": verdict.get("message"),
        "metric": verdict.get("metric"),
        "statistic": verdict.get("statistic"),
        "threshold": verdict.get("threshold"),
        "lower": verdict.get("lower"),
        "upper": verdict.get("upper"),
        "calibrated": verdict.get("calibrated"),
    }


def _read_number(request: Request, name: str, default: float) -> float:
    text = request.query_params.get(name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise InvalidRequest(f"{name} must be seconds since the epoch", "InvalidParameter")
    return value


def _read_whole(request: Request, name: str, default: int, largest: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    fits = text.isascii() and text.isdigit() and len(text) <= len(str(largest))
    if not fits or not 1 <= int(text) <= largest:
        raise InvalidRequest(f"{name} must be a whole number from 1 to {largest}", "InvalidParameter")
    return int(text)
