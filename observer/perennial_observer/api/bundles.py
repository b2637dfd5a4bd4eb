"""The bundle store."""

from perennial_api.labels import ServiceAccountRole
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from perennial_observer.api.bodies import answer_json
from perennial_observer.api.context import context_of, identify

__all__ = ["get_bundle", "put_bundle"]


async def get_bundle(request: Request) -> Response:
    """``GET /v1/bundles/sha256:<hex>``."""
    await identify(request)
    path = context_of(request).blobs.find(request.path_params["digest"])
    return FileResponse(path, media_type="application/octet-stream")


async def put_bundle(request: Request) -> Response:
    """``PUT /v1/bundles/sha256:<hex>``."""
    caller = await identify(request)
    caller.require_role(ServiceAccountRole.TRAINER, ServiceAccountRole.PUSHER)
    context = context_of(request)
    digest = request.path_params["digest"]
    is_new = await context.blobs.put(digest, request.stream())
    return answer_json({"digest": digest}, 201 if is_new else 200)
