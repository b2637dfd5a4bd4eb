"""One connection to the API server, with a timeout on every call."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from kubernetes.aio import client, config

from perennial_observer.errors import Unavailable

__all__ = ["open_client", "unavailable"]


@asynccontextmanager
async def open_client() -> AsyncIterator[client.ApiClient]:
    """Connect from inside a pod, or by the kubeconfig where there is one."""
    await config.load_config()
    async with client.ApiClient() as api:
        yield api


def unavailable(error: Exception) -> Unavailable:
    """Tell a caller that the API server didn't answer as it should."""
    if isinstance(error, client.ApiException):
        return Unavailable(f"the Kubernetes API server refused: {_explain(error)}", "ApiServerRefused")
    return Unavailable(
        f"the Kubernetes API server doesn't answer: {type(error).__name__}", "ApiServerUnavailable"
    )


def _explain(error: client.ApiException) -> str:
    """Status and message of a Kubernetes Status object; the body may be anything."""
    try:
        return f"{error.status}: {orjson.loads(error.body)['message']}"[:500]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"{error.status}: {error.reason}"
