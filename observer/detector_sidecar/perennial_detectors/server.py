"""The socket server: one request per connection, a bounded number at once."""

import logging
import socketserver
import threading
from pathlib import Path
from typing import Any

from perennial_detectors.dispatch import answer_request
from perennial_detectors.engine import Engine
from perennial_detectors.errors import DetectorsError, EngineUnavailable
from perennial_detectors.protocol import Arrays, pack, read_frame, unpack, write_frame

__all__ = ["DetectorServer"]

_LOG = logging.getLogger(__name__)


class DetectorServer(socketserver.ThreadingUnixStreamServer):
    """Answers on a Unix socket.

    Parameters
    ----------
    path
        Where to make the socket; a stale one is replaced.
    unavailable
        Why the engine could not be loaded; then only ``version`` is answered, with this reason.
    """

    daemon_threads = True
    request_queue_size = 16

    def __init__(
        self,
        path: Path,
        engine: Engine,
        *,
        unavailable: EngineUnavailable | None = None,
        max_bytes: int = 256 << 20,
        timeout_s: float = 30.0,
        max_requests: int = 5,
    ) -> None:
        path.unlink(missing_ok=True)
        self.engine = engine
        self.unavailable = unavailable
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s
        self._slots = threading.BoundedSemaphore(max_requests)
        super().__init__(str(path), _Handler)
        path.chmod(0o660)

    def answer(self, payload: bytes) -> bytes:
        """Turn a request's bytes into the answer's."""
        try:
            request, arrays = unpack("request", payload, self.max_bytes)
            if self.unavailable is not None:
                raise self.unavailable
            message, results = answer_request(self.engine, request, arrays)
        except DetectorsError as error:
            return _pack_error(error)
        return pack("answer", message, results)

    def take_slot(self) -> bool:
        """Whether one more request may be read into memory now."""
        return self._slots.acquire(blocking=False)

    def give_slot(self) -> None:
        """Let the next one in."""
        self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what a handler let through; the caller sees a closed connection."""
        del request, client_address
        _LOG.exception("request failed")


def _pack_error(error: DetectorsError) -> bytes:
    nothing: Arrays = {}
    return pack("answer", {"error": {"reason": error.reason, "message": error.message}}, nothing)


class _Handler(socketserver.BaseRequestHandler):
    server: DetectorServer

    def handle(self) -> None:
        self.request.settimeout(self.server.timeout_s)
        if not self.server.take_slot():
            write_frame(
                self.request, _pack_error(DetectorsError("too many requests at once: try again", "Busy"))
            )
            return
        try:
            try:
                answer = self.server.answer(read_frame(self.request, self.server.max_bytes))
            except DetectorsError as error:
                answer = _pack_error(error)
            write_frame(self.request, answer)
        except (TimeoutError, ConnectionError):
            _LOG.warning("client gave up or was too slow")
        finally:
            self.server.give_slot()
