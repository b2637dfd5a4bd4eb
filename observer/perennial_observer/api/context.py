"""What every route needs, handed over once when the application is built."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import anyio.to_thread
from starlette.requests import Request

from perennial_observer.auth import Authenticator, Caller
from perennial_observer.errors import NotFound
from perennial_observer.ingest.event_time import EventTimes
from perennial_observer.ingest.shares import Shares
from perennial_observer.metrics import Metrics
from perennial_observer.monitors.looks.reports import DeploymentReport
from perennial_observer.registry import Registry
from perennial_observer.settings import Settings
from perennial_observer.store.blobs import BlobStore
from perennial_observer.store.reads import find_deployment_uid
from perennial_observer.store.rows import DeploymentKey
from perennial_observer.store.store import Store

__all__ = ["Context", "context_of", "find_deployment", "identify"]


@dataclass(frozen=True)
class Context:
    """Collaborators of the routes.

    Parameters
    ----------
    clock
        Seconds since the epoch.
    check_health
        Raises Unavailable with what is broken.
    check_alive
        Raises Unavailable with what only a restart mends.
    reports
        Gives the latest look, by uid.
    monotonic
        Seconds that no correction of the clock touches: rates are told by it.
    """

    settings: Settings
    store: Store
    blobs: BlobStore
    authenticator: Authenticator
    registry: Registry
    event_times: EventTimes
    metrics: Metrics
    clock: Callable[[], float]
    check_health: Callable[[], Awaitable[None]]
    check_alive: Callable[[], Awaitable[None]]
    reports: Callable[[], Mapping[str, DeploymentReport]] = dict
    shares: Shares = field(default_factory=Shares)
    monotonic: Callable[[], float] = time.monotonic


def context_of(request: Request) -> Context:
    """Return the application's context."""
    context: Context = request.app.state.context
    return context


async def identify(request: Request) -> Caller:
    """Tell who calls, by either of the two headers.

    Raises
    ------
    Unauthenticated, Forbidden, Unavailable
        As the authenticator says.
    """
    token = request.headers.get("x-perennial-token", "")
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if not token and scheme.lower() == "bearer":
        token = credentials.strip()
    return await context_of(request).authenticator.identify(token)


async def find_deployment(request: Request) -> DeploymentKey:
    """Return the deployment that has the path's name now; one that is gone takes no more labels and entries.

    Raises
    ------
    NotFound
        There is none.
    """
    context = context_of(request)
    namespace, name = request.path_params["namespace"], request.path_params["name"]
    uid = context.registry.find_uid(namespace, name)
    if uid is None and not context.registry.synced:
        uid = await anyio.to_thread.run_sync(_read_uid, context.store, namespace, name)
    if uid is None:
        raise NotFound(f"there is no ModelDeployment {namespace}/{name}"[:300], "DeploymentNotFound")
    return DeploymentKey(uid, namespace, name)


def _read_uid(store: Store, namespace: str, name: str) -> str | None:
    with store.read() as connection:
        return find_deployment_uid(connection, namespace, name)
