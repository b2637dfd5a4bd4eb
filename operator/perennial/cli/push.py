"""Push a bundle into the installation's own store, with the user's rights alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import IO, Any, Protocol

from perennial_api.labels import TOKEN_AUDIENCE

from perennial.cli.answer import Answer
from perennial.cli.archive import Archive
from perennial.cli.errors import StoreError

PUSHER = "perennial-pusher"
OBSERVER = "perennial-observer"
TRIES = 3
PAUSE_S = 2.0

_STORED = (200, 201)
_RETRIED = (429, 502, 503, 504)


class Store(Protocol):
    """What pushing needs of the cluster."""

    def create_token(self, namespace: str, service_account: str, audience: str) -> str:
        """Return a short-lived token of a ServiceAccount."""

    def put_through_proxy(
        self,
        namespace: str,
        service: str,
        path: str,
        body: IO[bytes],
        *,
        size_bytes: int,
        headers: Mapping[str, str],
    ) -> Answer:
        """PUT a file to a service through the API server."""


class ProgressReader:
    """A file that tells how many bytes have been read of it; urllib3 reads it piece by piece."""

    def __init__(self, file: IO[bytes], advance: Callable[[int], Any]) -> None:
        self._file = file
        self._advance = advance

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._file.read(size)
        self._advance(len(data))
        return data


def push(
    store: Store,
    archive: Archive,
    installation: str,
    progress: Callable[[int], Any],
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Store an archive under its digest; return False if it was there already.

    Parameters
    ----------
    store
        The cluster.
    archive
        What to push.
    installation
        Namespace that Perennial is installed in.
    progress
        Called with the number of bytes sent since the last call; negative when a try starts over.
    sleep
        Seconds to wait between tries.

    Raises
    ------
    ClusterError, StoreError
        With what to do about it.
    """
    token = store.create_token(installation, PUSHER, TOKEN_AUDIENCE)
    path = f"/v1/bundles/{archive.digest}"
    for attempt in range(1, TRIES + 1):
        sent = 0

        def advance(size: int) -> None:
            nonlocal sent
            sent += size
            progress(size)

        with archive.path.open("rb") as file:
            body: Any = ProgressReader(file, advance)
            headers = {"X-Perennial-Token": token}
            answer = store.put_through_proxy(
                installation, OBSERVER, path, body, size_bytes=archive.size_bytes, headers=headers
            )
        if answer.status in _STORED:
            return answer.status == _STORED[1]
        if answer.status not in _RETRIED or attempt == TRIES:
            raise StoreError(_explain(answer, installation))
        progress(-sent)
        sleep(PAUSE_S * attempt)
    raise AssertionError("unreachable")


def _explain(answer: Answer, installation: str) -> str:
    document = answer.json()
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict):
        return f"The bundle store refuses: {error.get('message')} ({error.get('reason')})."
    if isinstance(document, dict) and document.get("kind") == "Status":
        return (
            f"The bundle store can't be reached: {document.get('message')}. Check that the observer runs: "
            f"kubectl -n {installation} get deployments."
        )
    return f"The bundle store answered HTTP {answer.status}."
