"""The ASGI application."""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perennial_observer.api.bodies import answer_error, answer_json
from perennial_observer.api.bundles import get_bundle, put_bundle
from perennial_observer.api.context import Context, context_of
from perennial_observer.api.feedback import post_feedback
from perennial_observer.api.log import post_log, post_log_of, post_reference
from perennial_observer.api.monitors import get_monitors, get_scores, get_window, get_windows
from perennial_observer.api.training import get_export, get_watermark
from perennial_observer.errors import ObserverError

__all__ = ["build_app"]

_LOG = logging.getLogger(__name__)

_MONITORS = "/v1/deployments/{namespace}/{name}/monitors"
_PREDICTION = "/v1/deployments/{namespace}/{name}/predictions/{id}"

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def build_app(context: Context, lifespan: Lifespan | None = None) -> Starlette:
    """Tie routes and error answers together."""
    app = Starlette(
        routes=[
            Route("/v1/log", post_log, methods=["POST"]),
            Route("/v1/namespaces/{namespace}/deployments/{name}/log", post_log_of, methods=["POST"]),
            Route("/v1/reference", post_reference, methods=["POST"]),
            Route("/v1/bundles/{digest}", get_bundle, methods=["GET"]),
            Route("/v1/bundles/{digest}", put_bundle, methods=["PUT"]),
            Route("/v1/export", get_export, methods=["GET"]),
            Route("/v1/watermark", get_watermark, methods=["GET"]),
            Route("/v1/namespaces/{namespace}/deployments/{name}/feedback", post_feedback, methods=["POST"]),
            Route(_MONITORS, get_monitors, methods=["GET"]),
            Route(f"{_MONITORS}/{{monitor}}/windows", get_windows, methods=["GET"]),
            Route(f"{_MONITORS}/{{monitor}}/windows/{{id}}", get_window, methods=["GET"]),
            Route(f"{_PREDICTION}/scores", get_scores, methods=["GET"]),
            Route("/healthz", _get_healthz, methods=["GET"]),
            Route("/livez", _get_livez, methods=["GET"]),
            Route("/metrics", _get_metrics, methods=["GET"]),
        ],
        exception_handlers={
            ObserverError: _answer_refusal,
            HTTPException: _answer_http,
            Exception: _answer_bug,
        },
        lifespan=lifespan,
    )
    app.state.context = context
    return app


async def _get_healthz(request: Request) -> Response:
    await context_of(request).check_health()
    return Response("ok", media_type="text/plain")


async def _get_livez(request: Request) -> Response:
    await context_of(request).check_alive()
    return Response("ok", media_type="text/plain")


async def _get_metrics(request: Request) -> Response:
    return Response(
        context_of(request).metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


async def _answer_refusal(request: Request, error: Any) -> Response:
    context_of(request).metrics.count_refusal(error)
    return answer_error(error)


async def _answer_http(_: Request, error: Any) -> Response:
    reason = {404: "NotFound", 405: "MethodNotAllowed"}.get(error.status_code, "InvalidRequest")
    return answer_json(
        {"error": {"reason": reason, "message": str(error.detail)}},
        error.status_code,
        dict(error.headers or {}),
    )


async def _answer_bug(request: Request, error: Any) -> Response:
    _LOG.error("unexpected error path=%s", request.url.path, exc_info=error)
    return answer_json(
        {"error": {"reason": "InternalError", "message": "the observer's log has the details"}}, 500
    )
