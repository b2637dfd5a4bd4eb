"""One connection to the API server, with a timeout on every call."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
    status = getattr(error, "status", None)
    return Unavailable(
        f"the Kubernetes API server doesn't answer: {status or type(error).__name__}", "ApiServerUnavailable"
    )
