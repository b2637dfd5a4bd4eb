"""/healthz and /metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

__all__ = ["Health", "build_app"]


@dataclass(frozen=True, slots=True)
class Health:
    """What /healthz judges.

    Attributes
    ----------
    watch_ages_s
        How long ago each watch was heard of, in seconds.
    lease_age_s
        How long ago this replica last tried to hold or renew the lease, in seconds.
    """

    watch_ages_s: Callable[[], Mapping[str, float]]
    lease_age_s: Callable[[], float]
    is_leader: Callable[[], bool]
    watch_max_age_s: float
    lease_max_age_s: float


def build_app(health: Health, registry: CollectorRegistry) -> web.Application:
    """Build the HTTP application."""

    async def healthz(_request: web.Request) -> web.Response:
        ages = health.watch_ages_s()
        silent = sorted(path for path, age_s in ages.items() if age_s > health.watch_max_age_s)
        lease_age_s = health.lease_age_s()
        alive = not silent and lease_age_s <= health.lease_max_age_s
        body = {
            "alive": alive,
            "leader": health.is_leader(),
            "lease_age_s": round(lease_age_s, 1),
            "silent_watches": silent,
            "watch_ages_s": {path: round(age_s, 1) for path, age_s in ages.items()},
        }
        return web.json_response(body, status=200 if alive else 503)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", make_aiohttp_handler(registry=registry))
    return app
