"""Refuses predictions at a full server before anything is made for them: no task, no scope, no body.

Under overload most requests are refused, so what a refusal costs is taken from those that are answered. An ASGI
application's refusal costs half as much as an answer of a quick model; this one little more than reading the head.
"""

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from perennial_server.errors import TooBusy
from perennial_server.metrics import Metrics
from perennial_server.origin import PREDICTION_ID_HEADER, valid_prediction_id
from perennial_server.protocol.metadata import render_error
from perennial_server.rest.asgi import CLOSE
from perennial_server.rest.bodies import has_small_body
from perennial_server.rest.pacing import Pacer

_ID_HEADER = PREDICTION_ID_HEADER.encode()


class RefusingProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which asks whether a prediction may come in as soon as its head is whole.

    Parameters
    ----------
    turn_away
        Says why nobody may come in now; None if somebody may.
    pacer
        Says when the next request of a refused connection is read.
    revision, metrics
        Of this server.
    options
        Of uvicorn's protocol.
    """

    def __init__(
        self,
        turn_away: Callable[[], TooBusy | None],
        pacer: Pacer,
        revision: str,
        metrics: Metrics,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._turn_away = turn_away
        self._pacer = pacer
        self._revision = revision.encode()
        self._metrics = metrics
        self._reads_over = False

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._reads_over = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Refuse a prediction, or hand it on as uvicorn does."""
        is_next = self.cycle is None or self.cycle.response_complete
        if is_next and self.url.endswith(b"/infer") and self.parser.get_method() == b"POST":
            refusal = self._turn_away()
            if refusal is not None:
                self._refuse(refusal)
                return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Read over what belongs to a refused request."""
        if not self._reads_over:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; after a refused one the connection waits for the next, but not for ever."""
        if not self._reads_over:
            super().on_message_complete()
        elif not self.transport.is_closing():
            self.on_response_complete()
            self._pacer.hold(self)

    def pause_reading(self) -> None:
        """Read no more of this connection."""
        self.flow.pause_reading()

    def resume_reading(self) -> None:
        """Read it again, if it is still there."""
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def _refuse(self, refusal: TooBusy) -> None:
        self._reads_over = True
        headers = dict(self.headers)
        prediction_id = valid_prediction_id(headers.get(_ID_HEADER, b"").decode("latin-1"))
        body = render_error(refusal.message)
        # Who sends much more is cut off; a small body is read over, which is cheaper than a new connection.
        is_draining = CLOSE in self.server_state.default_headers
        stays = has_small_body(headers) and self.parser.should_keep_alive() and not is_draining
        self.transport.write(
            b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"retry-after: %d\r\nx-model-revision: %b\r\nx-prediction-id: %b\r\n%b\r\n%b"
            % (
                len(body),
                refusal.retry_after_s,
                self._revision,
                prediction_id.encode(),
                b"" if stays else b"connection: close\r\n",
                body,
            )
        )
        self._metrics.count_request(429, 0.0)
        if not stays:
            self.transport.close()
