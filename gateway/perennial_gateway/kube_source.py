"""The API server as the source of routes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from kubernetes.aio import client, config
from perennial_api.labels import GROUP, VERSION

from perennial_gateway.jwks import ServiceAccountKeys
from perennial_gateway.model import Snapshot
from perennial_gateway.reflector import Reflector
from perennial_gateway.resolve import SLICE_SELECTOR, build_snapshot
from perennial_gateway.settings import AgentSettings


class KubeSource:
    """Watches ModelRoutes and EndpointSlices; a `RouteSource`."""

    def __init__(self, api: client.ApiClient, settings: AgentSettings) -> None:
        self._changed = asyncio.Event()
        self._snapshot: Snapshot | None = None
        self._stale = True
        self._routes = self._reflector(api, settings, GROUP, VERSION, "modelroutes")
        self._slices = self._reflector(
            api, settings, "discovery.k8s.io", "v1", "endpointslices", SLICE_SELECTOR
        )

    def _reflector(  # noqa: PLR0917 - one line per watch reads best
        self,
        api: client.ApiClient,
        settings: AgentSettings,
        group: str,
        version: str,
        plural: str,
        selector: str = "",
    ) -> Reflector:
        return Reflector(
            api,
            group=group,
            version=version,
            plural=plural,
            selector=selector,
            on_change=self._note_change,
            request_timeout_s=settings.request_timeout_s,
            resync_s=settings.resync_s,
        )

    def _note_change(self) -> None:
        self._stale = True
        self._changed.set()

    def snapshot(self) -> Snapshot | None:
        """Return all routes, or None until both kinds have been listed once."""
        if not (self._routes.synced and self._slices.synced):
            return None
        if self._stale:
            self._stale = False
            self._snapshot = build_snapshot(self._routes.objects.values(), self._slices.objects.values())
        return self._snapshot

    async def wait_for_change(self) -> None:
        """Return after the snapshot has changed since the last call."""
        await self._changed.wait()
        self._changed.clear()

    def watch_failures(self) -> Mapping[str, int]:
        """Return how often each watch has failed."""
        return {"modelroutes": self._routes.failures, "endpointslices": self._slices.failures}

    def silent_s(self) -> float:
        """Return for how long the API server has said nothing on the quieter of both watches."""
        return max(self._routes.silent_s(), self._slices.silent_s())

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._routes.run())
            group.create_task(self._slices.run())


@contextlib.asynccontextmanager
async def connect(settings: AgentSettings) -> AsyncIterator[tuple[KubeSource, ServiceAccountKeys]]:
    """Yield a source and the keys; they use the pod's service account, or a kubeconfig outside a cluster."""
    try:
        config.load_incluster_config()
    except config.ConfigException:
        await config.load_kube_config()
    async with client.ApiClient() as api:
        yield KubeSource(api, settings), ServiceAccountKeys(api, settings.request_timeout_s)
