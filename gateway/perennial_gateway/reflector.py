"""Keep a copy of one kind of object: list, watch from there, and list again when in doubt."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from typing import Any

import aiohttp
from kubernetes.aio import client

_LOG = logging.getLogger(__name__)

PAGE_SIZE = 500
WATCH_S = 10
"""A watch is renewed this often, so that a connection that died silently is noticed."""

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 30.0
MAX_EVENT_BYTES = 8 * 1024 * 1024
"""etcd keeps objects below 1.5 MiB."""


class Reflector:
    """The objects of one kind, as last heard of.

    Parameters
    ----------
    api
        Client of the API server.
    group, version, plural
        What to watch, in all namespaces; built-in kinds work too.
    selector
        Label selector, or none.
    on_change
        Called after every change, and after every list.
    request_timeout_s, resync_s
        For one call, and between two lists (jittered by 20 %).
    """

    def __init__(
        self,
        api: client.ApiClient,
        *,
        group: str,
        version: str,
        plural: str,
        selector: str = "",
        on_change: Callable[[], None],
        request_timeout_s: float,
        resync_s: float,
    ) -> None:
        objects = client.CustomObjectsApi(api)
        self._list = objects.list_cluster_custom_object
        self._stream = objects.list_cluster_custom_object_without_preload_content
        self._kind = {"group": group, "version": version, "plural": plural}
        self._selector = {"label_selector": selector} if selector else {}
        self._on_change = on_change
        self._request_timeout_s = float(request_timeout_s)
        self._resync_s = resync_s
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.synced = False
        self.failures = 0
        self._heard_at = time.monotonic()

    def silent_s(self) -> float:
        """Return for how long the API server has said nothing, not even that a watch begins."""
        return time.monotonic() - self._heard_at

    async def run(self) -> None:
        """Follow the API server until cancelled; what is known stays known while it doesn't answer."""
        retry_s = FIRST_RETRY_S
        while True:
            try:
                version = await self._relist()
                retry_s = FIRST_RETRY_S
                await self._follow(version)
            except client.ApiException as error:
                if error.status == HTTPStatus.GONE:
                    continue
                retry_s = await self._back_off(error, retry_s)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                retry_s = await self._back_off(error, retry_s)

    async def _back_off(self, error: BaseException, retry_s: float) -> float:
        self.failures += 1
        _LOG.warning("watch failed plural=%s error=%r retry_s=%.1f", self._kind["plural"], error, retry_s)
        await asyncio.sleep(retry_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
        return min(2 * retry_s, LAST_RETRY_S)

    async def _relist(self) -> str:
        objects: dict[tuple[str, str], dict[str, Any]] = {}
        page: dict[str, Any] = {}
        while True:
            page = await self._list(
                **self._kind,
                **self._selector,
                limit=PAGE_SIZE,
                _request_timeout=self._request_timeout_s,
                **({"_continue": page["metadata"]["continue"]} if page else {}),
            )
            self._heard_at = time.monotonic()
            objects |= {_key(item): item for item in page["items"]}
            if not page["metadata"].get("continue"):
                break
        changed = objects != self.objects or not self.synced
        self.objects, self.synced = objects, True
        if changed:
            self._on_change()
        return str(page["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> None:
        resync_at = time.monotonic() + self._resync_s * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        while time.monotonic() < resync_at:
            async for event in self._watch(version):
                if event["type"] == "ERROR":
                    raise client.ApiException(status=event["object"].get("code"), reason=str(event["object"]))
                version = event["object"]["metadata"]["resourceVersion"]
                self._handle(event["type"], event["object"])

    async def _watch(self, version: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of one watch.

        Not by `kubernetes.aio.watch`, which takes a refused watch for one that has ended, and reads
        lines by a method that fails above 128 KiB.
        """
        response: aiohttp.ClientResponse = await self._stream(
            **self._kind,
            **self._selector,
            watch=True,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=WATCH_S,
            _request_timeout=WATCH_S + self._request_timeout_s,
        )
        try:
            if response.status != HTTPStatus.OK:
                raise client.ApiException(status=response.status, reason=response.reason)
            self._heard_at = time.monotonic()
            rest = b""
            async for chunk in response.content.iter_any():
                self._heard_at = time.monotonic()
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_EVENT_BYTES:
                    raise ValueError(f"an event is larger than {MAX_EVENT_BYTES} bytes")
                for line in lines:
                    yield json.loads(line)
        finally:
            response.close()

    def _handle(self, kind: str, body: dict[str, Any]) -> None:
        if kind in {"ADDED", "MODIFIED"}:
            self.objects[_key(body)] = body
        elif kind == "DELETED":
            self.objects.pop(_key(body), None)
        else:
            return
        self._on_change()


def _key(body: dict[str, Any]) -> tuple[str, str]:
    return body["metadata"].get("namespace", ""), body["metadata"]["name"]
