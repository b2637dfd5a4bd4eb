"""A little observer for tests: a real HTTP process that records what it gets and misbehaves on command.

``python little_observer.py PORT BUNDLES_DIR``. Under ``/control`` the test sets the mode (``ok``, ``hang``, ``busy``,
``reject``) and the token that counts, and reads what has arrived.
"""

import gzip
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

STATE = {"mode": "ok", "token": None, "calls": 0, "log": [], "reference": []}
LOCK = threading.Lock()
FOREVER = threading.Event()


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

    def read(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def is_refused(self):
        """Answer as the mode says; True if that is all there is."""
        with LOCK:
            STATE["calls"] += 1
            mode, token = STATE["mode"], STATE["token"]
        if mode == "hang":
            FOREVER.wait()
        if mode in {"busy", "reject"}:
            self.answer(503 if mode == "busy" else 422)
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
        body = json.loads(self.read())
        if self.path == "/control":
            with LOCK:
                STATE.update(body)
            self.answer(204)
        elif not self.is_refused():
            with LOCK:
                if self.path == "/v1/log":
                    STATE["log"] += body["entries"]
                elif self.path == "/v1/reference":
                    STATE["reference"].append(body)
            self.answer(202, b"{}")


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()
