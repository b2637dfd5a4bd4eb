"""Keeps the registry in step with the cluster: list, then watch, for ever."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson
from kubernetes.aio import client
from perennial_api import ModelDeployment
from perennial_api.labels import GROUP, VERSION
from pydantic import ValidationError

from perennial_observer.registry import Registry

__all__ = ["DeploymentWatch"]

_LOG = logging.getLogger(__name__)

PLURAL = "modeldeployments"
# The server ends the watch by then; a new list catches whatever a watch may miss.
WATCH_S = 240
PAGE_ITEMS = 500
# etcd keeps objects below 1.5 MiB.
MAX_EVENT_BYTES = 16 << 20
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
            except (client.ApiException, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                failures += 1
                _LOG.warning("watch of ModelDeployments broke error=%s failures=%d", error, failures)
                pause_s = min(LONGEST_PAUSE_S, 0.5 * 2 ** min(failures, 10))
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  jitter

    async def _list_and_watch(self) -> None:
        custom = client.CustomObjectsApi(self.api)
        items: list[dict[str, Any]] = []
        page: Any = None
        while page is None or page["metadata"].get("continue"):
            more = {"_continue": page["metadata"]["continue"]} if page else {}
            page = await custom.list_cluster_custom_object(
                GROUP, VERSION, PLURAL, limit=PAGE_ITEMS, _request_timeout=self.timeout_s, **more
            )
            items += page["items"]
        parsed = {item["metadata"]["uid"]: self._parse(item) for item in items}
        self.registry.replace(
            [deployment for deployment in parsed.values() if deployment is not None],
            [uid for uid, deployment in parsed.items() if deployment is None],
        )
        async for event in self._watch(custom, page["metadata"]["resourceVersion"]):
            if event["type"] == "ERROR":
                # Most often 410: the version is too old, so a new list is due.
                raise client.ApiException(status=event["object"].get("code"), reason=str(event["object"]))
            self.registry.hear()
            self._apply(event["type"], event["object"])

    async def _watch(self, custom: client.CustomObjectsApi, version: str) -> AsyncIterator[dict[str, Any]]:
        """Yield events until the server ends the watch.

        Read from the response itself: the client's own watch takes a refused one for one that has ended, and cannot
        read lines over 128 KiB.
        """
        response: aiohttp.ClientResponse = await custom.list_cluster_custom_object_without_preload_content(
            GROUP,
            VERSION,
            PLURAL,
            watch=True,
            resource_version=version,
            # So that the server says something also while nothing changes.
            allow_watch_bookmarks=True,
            timeout_seconds=WATCH_S,
            _request_timeout=WATCH_S + self.timeout_s,
        )
        try:
            if response.status != HTTPStatus.OK:
                raise client.ApiException(status=response.status, reason=response.reason)
            unread = bytearray()
            async for chunk in response.content.iter_any():
                unread += chunk
                if len(unread) > MAX_EVENT_BYTES:
                    raise OSError(f"an event is over {MAX_EVENT_BYTES} bytes")
                *lines, unread = unread.split(b"\n")
                for line in lines:
                    yield orjson.loads(line)
        finally:
            response.close()

    def _apply(self, kind: str, item: dict[str, Any]) -> None:
        if kind == "DELETED":
            self.registry.remove(item["metadata"]["uid"])
        elif kind in {"ADDED", "MODIFIED"}:
            deployment = self._parse(item)
            if deployment is None:
                self.registry.put_unread(item["metadata"]["uid"])
            else:
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
