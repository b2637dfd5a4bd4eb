"""Keeps the registry in step with the cluster: list, then watch, for ever."""

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import client, watch
from perennial_api import ModelDeployment
from perennial_api.labels import GROUP, VERSION
from pydantic import ValidationError

from perennial_observer.registry import Registry

__all__ = ["DeploymentWatch"]

_LOG = logging.getLogger(__name__)

PLURAL = "modeldeployments"
# The server ends the watch by then; a new list catches whatever a watch may miss.
WATCH_S = 240
LONGEST_PAUSE_S = 30.0


@dataclass
class DeploymentWatch:
    """Copies ModelDeployments into a :class:`Registry`."""

    api: client.ApiClient
    registry: Registry
    timeout_s: float

    async def run(self) -> None:
        """List and watch until cancelled, with growing pauses while the API server is away."""
        failures = 0
        while True:
            try:
                await self._list_and_watch()
                failures = 0
            except (client.ApiException, aiohttp.ClientError, TimeoutError, OSError) as error:
                failures += 1
                _LOG.warning("watch of ModelDeployments broke error=%s failures=%d", error, failures)
                pause_s = min(LONGEST_PAUSE_S, 0.5 * 2 ** min(failures, 10))
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  jitter

    async def _list_and_watch(self) -> None:
        custom = client.CustomObjectsApi(self.api)
        found: Any = await custom.list_cluster_custom_object(
            GROUP, VERSION, PLURAL, _request_timeout=self.timeout_s
        )
        parsed = [self._parse(item) for item in found["items"]]
        self.registry.replace([deployment for deployment in parsed if deployment is not None])
        stream = watch.Watch().stream(
            custom.list_cluster_custom_object,
            GROUP,
            VERSION,
            PLURAL,
            resource_version=found["metadata"]["resourceVersion"],
            timeout_seconds=WATCH_S,
            _request_timeout=WATCH_S + self.timeout_s,
        )
        async for event in stream:
            self._apply(event["type"], event["raw_object"])

    def _apply(self, kind: str, item: dict[str, Any]) -> None:
        if kind == "DELETED":
            self.registry.remove(item["metadata"]["uid"])
        elif kind in {"ADDED", "MODIFIED"}:
            deployment = self._parse(item)
            if deployment is not None:
                self.registry.put(deployment)

    def _parse(self, item: dict[str, Any]) -> ModelDeployment | None:
        meta = item.get("metadata", {})
        try:
            return ModelDeployment.model_validate(
                {"apiVersion": f"{GROUP}/{VERSION}", "kind": "ModelDeployment", **item}
            )
        except ValidationError as error:
            # Written for a newer release: go on with what was last understood.
            _LOG.warning(
                "cannot read ModelDeployment %s/%s: %s", meta.get("namespace"), meta.get("name"), error
            )
            return self.registry.get(meta.get("uid", ""))
