"""A thin generic client: JSON in and out, a timeout on every call, our own errors."""

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

from perennial.cluster.kinds import KINDS
from perennial.errors import (
    AlreadyExistsError,
    ConflictError,
    NamespaceEndingError,
    NotFoundError,
    PerennialError,
    RefusedError,
    UnavailableError,
)

__all__ = ["FIELD_MANAGER", "Client", "load_configuration"]

FIELD_MANAGER = "perennial"
JSON = "application/json"
APPLY = "application/apply-patch+yaml"
PAGE_SIZE = 500
# No stored object has it, so an apply that carries it succeeds only as a create.
_NEVER_STORED_VERSION = "1"

_UNAUTHORIZED, _NOT_FOUND, _CONFLICT, _TOO_MANY, _SERVER_ERROR = 401, 404, 409, 429, 500

Json = dict[str, Any]


async def load_configuration(kubeconfig: str | None) -> Any:
    """Read how to reach the API server: from a kubeconfig if one is named, else from the pod's ServiceAccount."""
    configuration = kubernetes_client.Configuration()
    if kubeconfig:
        await kubernetes_config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    else:
        kubernetes_config.load_incluster_config(client_configuration=configuration)
    return configuration


class Client:
    """Reads and writes objects of any kind in `KINDS`.

    Parameters
    ----------
    configuration
        As `load_configuration` returns it.
    timeout_s
        For each call.
    """

    def __init__(self, configuration: Any, timeout_s: float) -> None:
        self._api = kubernetes_client.ApiClient(configuration)
        self._api.user_agent = "perennial-operator"
        self._timeout_s = timeout_s

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def get(self, kind: str, namespace: str | None, name: str) -> Json:
        """Read one object; NotFoundError if it isn't there."""
        return await self._call("GET", KINDS[kind].path(namespace, name))

    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Json]:
        """Read all objects that match a label selector, in pages."""
        found: list[Json] = []
        query = {"limit": str(PAGE_SIZE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._call("GET", KINDS[kind].path(namespace), query=query)
            # Items of a list carry neither kind nor apiVersion.
            head = {"apiVersion": KINDS[kind].api_version, "kind": kind}
            found += [head | item for item in page["items"]]
            token = page["metadata"].get("continue")
            if not token:
                return found
            query["continue"] = token

    async def create(self, body: Mapping[str, Any]) -> Json:
        """Create by POST, for objects that are never patched; AlreadyExistsError if the name is in use."""
        path = KINDS[body["kind"]].path(body["metadata"].get("namespace"))
        try:
            return await self._call("POST", path, query={"fieldManager": FIELD_MANAGER}, body=body)
        except ConflictError as error:
            raise AlreadyExistsError(str(error)) from error

    async def create_applied(self, body: Mapping[str, Any]) -> Json:
        """Create by server-side apply, so that later applies own every field; AlreadyExistsError as above.

        A POST would own the first fields for good, and no apply could take an entry out of a list again.
        """
        try:
            return await self._apply(body, {"resourceVersion": _NEVER_STORED_VERSION})
        except ConflictError as error:
            raise AlreadyExistsError(str(error)) from error

    async def apply(self, body: Mapping[str, Any], uid: str, resource_version: str) -> Json:
        """Server-side apply to the very object that was read; ConflictError if it changed or is another one."""
        return await self._apply(body, {"uid": uid, "resourceVersion": resource_version})

    async def apply_subresource(
        self, kind: str, namespace: str, name: str, subresource: str, body: Mapping[str, Any], *, manager: str
    ) -> Json:
        """Server-side apply to a subresource, whose body is of a kind of its own, under a field manager of its own."""
        path = KINDS[kind].path(namespace, name, subresource)
        query = {"fieldManager": manager, "force": "true"}
        return await self._call("PATCH", path, query=query, body=body, content_type=APPLY)

    async def replace(self, body: Mapping[str, Any], subresource: str | None = None) -> Json:
        """Replace an object or its status; its resourceVersion must be the stored one, else ConflictError."""
        metadata = body["metadata"]
        path = KINDS[body["kind"]].path(metadata.get("namespace"), metadata["name"], subresource)
        return await self._call("PUT", path, query={"fieldManager": FIELD_MANAGER}, body=body)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str, resource_version: str) -> None:
        """Delete the very object that was read, and its dependants in the background; one that is gone is fine."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        }
        try:
            await self._call("DELETE", KINDS[kind].path(namespace, name), body=options)
        except NotFoundError:
            return

    async def _apply(self, body: Mapping[str, Any], identity: Mapping[str, str]) -> Json:
        metadata = {**body["metadata"], **identity}
        path = KINDS[body["kind"]].path(metadata.get("namespace"), metadata["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._call(
            "PATCH", path, query=query, body={**body, "metadata": metadata}, content_type=APPLY
        )

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
    ) -> Json:
        headers = {"Accept": JSON, "Content-Type": content_type}
        request = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        try:
            response = await self._api.call_api(*request, _request_timeout=timeout)
            text = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnavailableError(f"{method} {path}: {error or 'timed out'}") from error
        if response.status >= 400:  # noqa: PLR2004 - HTTP
            raise _to_error(method, path, response.status, text)
        result: Json = json.loads(text)
        return result


def _to_error(method: str, path: str, status: int, text: bytes) -> PerennialError:
    said, causes = _read_status(text)
    sentence = f"{method} {path}: {status} {said}"
    if "NamespaceTerminating" in causes:
        return NamespaceEndingError(sentence)
    if status == _NOT_FOUND:
        return NotFoundError(sentence)
    if status == _CONFLICT:
        return ConflictError(sentence)
    # An expired token (401) is replaced before the next call.
    if status in {_UNAUTHORIZED, _TOO_MANY} or status >= _SERVER_ERROR:
        return UnavailableError(sentence)
    return RefusedError(sentence)


def _read_status(text: bytes) -> tuple[str, frozenset[str]]:
    """Read message and causes of the API server's Status; a proxy in between may answer anything."""
    try:
        status = json.loads(text)
        causes = (status.get("details") or {}).get("causes") or []
        return status.get("message", ""), frozenset(cause.get("reason", "") for cause in causes)
    except (ValueError, AttributeError):
        return text[:200].decode(errors="replace"), frozenset()
