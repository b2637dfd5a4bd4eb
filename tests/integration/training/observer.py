"""A small real HTTP server that speaks the part of the observer's API that a trainer uses, with faults on request."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pandas as pd


class ObserverState:
    def __init__(self) -> None:
        self.token = "the-trainers-token"
        self.watermark: float | None = None
        self.rows = pd.DataFrame()
        self.blobs: dict[str, bytes] = {}
        self.faults_left = 0
        self.requests: list[tuple[str, str]] = []

    def export(self, since: float, until: float) -> bytes:
        buffer = io.BytesIO()
        inside = (self.rows["event_time"] >= since) & (self.rows["event_time"] < until)
        self.rows[inside].to_parquet(buffer)
        return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    state: ObserverState

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if not self._admitted():
            return
        if url.path == "/v1/watermark":
            answer = {"watermark": self.state.watermark, "predictions": 0, "labels": 0}
            self._answer(200, json.dumps(answer).encode())
        elif url.path == "/v1/export":
            query = parse_qs(url.query)
            self._answer(200, self.state.export(float(query["since"][0]), float(query["until"][0])))
        elif (digest := url.path.removeprefix("/v1/bundles/")) in self.state.blobs:
            self._answer(200, self.state.blobs[digest])
        else:
            self._answer(404, b'{"error": {"reason": "BundleNotFound", "message": "push it first"}}')

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._admitted():
            self.state.blobs[self.path.removeprefix("/v1/bundles/")] = body
            self._answer(201, b"")

    def _admitted(self) -> bool:
        self.state.requests.append((self.command, self.path))
        if self.state.faults_left > 0:
            self.state.faults_left -= 1
            self._answer(503, b"try later")
            return False
        if self.headers["Authorization"] != f"Bearer {self.state.token}":
            self._answer(401, b'{"error": {"reason": "Unauthenticated", "message": "who are you"}}')
            return False
        return True

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[tuple[str, ObserverState]]:
    state = ObserverState()
    handler = type("BoundHandler", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
