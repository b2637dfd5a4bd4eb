"""A little observer and sink for tests: a real HTTP process that records what it gets and misbehaves on command.

``python little_observer.py PORT BUNDLES_DIR``. Under ``/control`` the test sets a mode for the observer and one for the
sink at ``/sink``, and the token that counts, and reads what has arrived. Modes are ``ok``, ``hang``, ``slow``, ``busy``
(503), ``error`` (500), ``reject`` (422), ``refuse`` (400), ``redirect`` (307 to the observer's log) and ``gzip`` (415
for anything else).
"""

import gzip
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import zstandard
from perennial_observer.api.tensors import TENSORS_TYPE, read_tensors

STATE = {
    "mode": "ok",
    "sink_mode": "ok",
    "token": None,
    "calls": 0,
    "sink_calls": 0,
    "log": [],
    "encodings": [],
    "reference": [],
    "sink": [],
}
LOCK = threading.Lock()
FOREVER = threading.Event()
SLOW_S = 0.3
STATUSES = {"busy": 503, "error": 500, "reject": 422, "refuse": 400, "redirect": 307}
UNFOLD = {"gzip": gzip.decompress, "zstd": zstandard.decompress, "identity": bytes}


def read_groups(body):
    """The requests of a log body, each with its rows; and the share of predictions that it is of."""
    yield from body.get("entries", ())
    for group in body.get("groups", ()):
        start = 0
        clients = group.get("clients", [None] * len(group["ids"]))
        for i, name in enumerate(group["ids"]):
            end = start + group["sizes"][i]
            yield {
                "prediction_id": name,
                "time": group["times"][i],
                "client": clients[i],
                "shadow": group.get("shadow", False),
                "percent": body["percent"],
                "inputs": {column: values[start:end] for column, values in group["inputs"].items()},
                "outputs": {column: values[start:end] for column, values in group["outputs"].items()},
            }
            start = end


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def misbehave(self, mode, encoding="identity"):
        """Do as the mode says; True if that is all there is."""
        if mode == "hang":
            FOREVER.wait()
        if mode == "slow":
            FOREVER.wait(SLOW_S)
        if mode in STATUSES:
            self.answer(STATUSES[mode], headers=[("Location", "/v1/log")] if mode == "redirect" else ())
            return True
        if mode == "gzip" and encoding != "gzip":
            self.answer(415)
            return True
        return False

    def is_refused(self):
        """Answer as the observer's mode says; True if that is all there is."""
        with LOCK:
            STATE["calls"] += 1
            mode, token = STATE["mode"], STATE["token"]
        if self.misbehave(mode, self.headers.get("Content-Encoding", "identity")):
            return True
        if token is not None and self.headers.get("Authorization") != f"Bearer {token}":
            self.answer(401)
            return True
        return False

    def do_GET(self):
        if self.path == "/control":
            with LOCK:
                self.answer(200, json.dumps(STATE).encode())
            return
        if self.is_refused():
            return
        path = Path(sys.argv[2]) / self.path.rsplit("/", 1)[-1].removeprefix("sha256:")
        if self.path.startswith("/v1/bundles/sha256:") and path.is_file():
            self.answer(200, path.read_bytes())
        else:
            self.answer(404)

    def do_POST(self):
        encoding = self.headers.get("Content-Encoding", "identity")
        body = UNFOLD[encoding](self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if self.path == "/control":
            with LOCK:
                STATE.update(json.loads(body))
            self.answer(204)
        elif self.path == "/sink":
            with LOCK:
                STATE["sink_calls"] += 1
                mode = STATE["sink_mode"]
            if not self.misbehave(mode):
                with LOCK:
                    STATE["sink"].append({"headers": dict(self.headers), "body": body.decode()})
                self.answer(200)
        elif not self.is_refused():
            with LOCK:
                STATE["encodings"].append(encoding)
                if self.path == "/v1/log":
                    read = read_tensors if self.headers["Content-Type"] == TENSORS_TYPE else json.loads
                    STATE["log"] += read_groups(read(body))
                elif self.path == "/v1/reference":
                    STATE["reference"].append(json.loads(body))
            self.answer(202, b"{}")


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()
