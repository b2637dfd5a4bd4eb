"""What Kopf watches. Its handlers only put keys into the queue: no finalizers, no annotations, no state."""

import itertools
import logging
import random
import ssl
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import aiohttp
import kopf
from perennial_api.labels import LABEL_DEPLOYMENT

from perennial.cluster.kinds import KINDS
from perennial.controller.liveness import WatchMonitor
from perennial.controller.queue import Key

__all__ = ["WATCHED_PATHS", "build_registry", "build_settings"]

_log = logging.getLogger(__name__)

CHILD_KINDS = (
    "Deployment",
    "Service",
    "ServiceAccount",
    "Pod",
    "EndpointSlice",
    "Job",
    "ModelRevision",
    "ModelRoute",
    "RetrainingRun",
)
# They have the ModelDeployment's name.
NAMESAKE_KINDS = ("ModelDeployment", "MonitorReport")
RUNTIME_KINDS = ("ModelRuntime", "ClusterModelRuntime")

WATCHED_PATHS = tuple(KINDS[kind].path() for kind in (*CHILD_KINDS, *NAMESAKE_KINDS, *RUNTIME_KINDS))

SERVER_TIMEOUT_S = 120
CLIENT_TIMEOUT_S = 150
CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 30.0
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 15.0


class _Backoffs(Iterable[float]):
    """Growing, jittered and endless: a watch that gives up is never started again."""

    def __iter__(self) -> Iterator[float]:
        for attempt in itertools.count():
            longest_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempt, 10))
            yield longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def build_settings() -> kopf.OperatorSettings:
    """Build Kopf's settings: it watches, and does nothing else."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    # Only the kinds present at start: the chart installs the CRDs first, and no right on namespaces is needed.
    settings.scanning.disabled = True
    settings.watching.server_timeout = SERVER_TIMEOUT_S
    settings.watching.client_timeout = CLIENT_TIMEOUT_S
    settings.watching.connect_timeout = CONNECT_TIMEOUT_S
    settings.networking.request_timeout = REQUEST_TIMEOUT_S
    settings.networking.connect_timeout = CONNECT_TIMEOUT_S
    settings.networking.error_backoffs = _Backoffs()
    for kind in CHILD_KINDS:
        settings.watching.label_selectors[_resource(kind)] = LABEL_DEPLOYMENT
    return settings


def build_registry(
    configuration: Any, monitor: WatchMonitor, add: Callable[[Key], None], add_all: Callable[[], Any]
) -> kopf.OperatorRegistry:
    """Build the handlers.

    Parameters
    ----------
    configuration
        How to reach the API server, as `cluster.client.load_configuration` returns it.
    add, add_all
        Put one key, or every key, into the queue.
    """
    registry = kopf.OperatorRegistry()

    async def on_child(namespace: str | None, labels: kopf.Labels, **_: Any) -> None:
        name = labels.get(LABEL_DEPLOYMENT)
        if namespace and name:
            add(Key(namespace, name))

    async def on_namesake(namespace: str | None, name: str | None, **_: Any) -> None:
        if namespace and name:
            add(Key(namespace, name))

    async def on_runtime(**_: Any) -> None:
        await add_all()

    async def log_in(**_: Any) -> kopf.AiohttpSession:
        session = await _build_session(configuration, monitor)
        return kopf.AiohttpSession(server=configuration.host, aiohttp_session=session)

    kopf.on.login(registry=registry)(log_in)
    for kinds, handler in (
        (CHILD_KINDS, on_child),
        (NAMESAKE_KINDS, on_namesake),
        (RUNTIME_KINDS, on_runtime),
    ):
        for kind in kinds:
            kopf.on.event(*_resource(kind), id=handler.__name__, registry=registry)(handler)
    return registry


def _resource(kind: str) -> tuple[str, str, str]:
    known = KINDS[kind]
    group, _, version = known.api_version.rpartition("/")
    return group, version, known.plural


async def _build_session(configuration: Any, monitor: WatchMonitor) -> aiohttp.ClientSession:
    """Build Kopf's session; its requests are traced, and carry the token as it is at that moment."""
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)

    async def authorise(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # The kubelet replaces the token now and then; a session with the old one would end in 401.
        token = await configuration.get_api_key_with_prefix("BearerToken")
        if token:
            request.headers["Authorization"] = token
        return await handler(request)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context),
        trace_configs=[monitor.trace_config()],
        middlewares=(authorise,),
    )
