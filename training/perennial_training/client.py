"""The observer's HTTP API, as far as a trainer needs it.

The token is read anew for every call: the kubelet rotates it, and a long training outlives one. Calls are retried a
limited number of times, only for what may pass (no connection, 429, 5xx); all of them are safe to repeat.
"""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from perennial_training.errors import InvalidData, ObserverRefused, ObserverUnavailable

_HTTP_TOO_MANY = 429
_HTTP_SERVER_ERROR = 500
_HTTP_ERROR = 400
_BACKOFF_BASE_S = 0.5
_BACKOFF_MAX_S = 20.0


class ObserverClient:
    """A small synchronous client; every method raises ObserverUnavailable or ObserverRefused.

    Parameters
    ----------
    http : httpx.Client
        With base URL and timeouts set.
    token_file : Path
        Projected ServiceAccount token; read before each attempt.
    attempts : int
        Tries per call, at least 1.
    max_download_bytes : int
        Longest body accepted.
    sleep : callable
        Waits the given seconds between tries.
    """

    def __init__(
        self,
        http: httpx.Client,
        token_file: Path,
        *,
        attempts: int,
        max_download_bytes: int,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = http
        self._token_file = token_file
        self._attempts = attempts
        self._max_download_bytes = max_download_bytes
        self._sleep = sleep

    def watermark(self) -> float | None:
        """Event time up to which the log is complete, epoch seconds; None for an empty log."""
        value = json.loads(self._call("GET", "/v1/watermark"))["watermark"]
        return None if value is None else float(value)

    def export(self, since_s: float, until_s: float) -> bytes:
        """Labelled rows with event time in [since, until), epoch seconds, as a Parquet file."""
        return self._call("GET", "/v1/export", params={"since": repr(since_s), "until": repr(until_s)})

    def blob(self, digest: str) -> bytes:
        """Fetch the bundle or dataset of that digest (``sha256:<hex>``); the caller checks the digest."""
        return self._call("GET", f"/v1/bundles/{digest}")

    def push(self, digest: str, blob: bytes) -> None:
        """Store a bundle under its digest; storing it twice is fine."""
        self._call("PUT", f"/v1/bundles/{digest}", content=blob)

    def _call(self, method: str, path: str, **arguments: Any) -> bytes:
        problem = ""
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(random.uniform(0.5, 1.0) * min(_BACKOFF_MAX_S, _BACKOFF_BASE_S * 2**attempt))  # noqa: S311  jitter, not a secret
            try:
                status, body = self._once(method, path, **arguments)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if status < _HTTP_ERROR:
                return body
            problem = f"status {status}: {body[:500].decode(errors='replace')}"
            if status != _HTTP_TOO_MANY and status < _HTTP_SERVER_ERROR:
                raise ObserverRefused(f"{method} {path} was refused: {problem}")
        raise ObserverUnavailable(f"{method} {path} failed {self._attempts} times, last with {problem}")

    def _once(self, method: str, path: str, **arguments: Any) -> tuple[int, bytes]:
        token = self._token_file.read_text(encoding="utf-8").strip()
        headers = {"Authorization": f"Bearer {token}"}
        with self._http.stream(method, path, headers=headers, **arguments) as response:
            chunks: list[bytes] = []
            size = 0
            for chunk in response.iter_bytes():
                size += len(chunk)
                if size > self._max_download_bytes:
                    raise InvalidData(f"{path} is larger than {self._max_download_bytes} bytes")
                chunks.append(chunk)
            return response.status_code, b"".join(chunks)
