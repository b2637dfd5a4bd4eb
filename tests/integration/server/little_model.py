"""A user's own model server, in plain Python, as an image of any language could hold one.

Speaks the JSON that its adapter declares, in the dialect that the first argument names:

======== ==========================================================================================================
Columns  {"wind": [..], "carrier": [..]} in, {"predict": [..], "probability": [..]} out
Plumber  [{"wind": .., "carrier": ..}, ..] in, {"predict": [[0], ..], "probability": [[0.5], ..]} out: R's jsonlite
         writes a list's single values as vectors of one
======== ==========================================================================================================

The wind of a row decides what happens: 404 is an answer 400, 500 a crash of the model, 501 another shape than declared, 600
ends the process, and from 1000 on it takes so many milliseconds less 1000.
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CALLS = {"calls": 0, "rows": 0, "names": []}


def read_rows(body, dialect):
    if dialect == "Plumber":
        return body
    return [dict(zip(body, values, strict=True)) for values in zip(*body.values(), strict=True)]


def write_answer(rows, dialect):
    probability = [min(1.0, row["wind"] / 20) for row in rows]
    predict = [int(p > 0.5) for p in probability]
    if dialect == "Plumber":
        return {"predict": [[p] for p in predict], "probability": [[p] for p in probability]}
    return {"predict": predict, "probability": probability}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, CALLS if self.path == "/calls" else {"ready": True})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        rows = read_rows(body, sys.argv[2])
        CALLS["calls"] += 1
        CALLS["rows"] += len(rows)
        CALLS["names"] = sorted(rows[0])
        winds = {row["wind"] for row in rows}
        if 600 in winds:
            os._exit(3)
        if 404 in winds:
            self.answer(400, {"message": "no such wind"})
        elif 500 in winds:
            self.answer(500, {"error": "the model broke"})
        elif 501 in winds:
            self.answer(200, {"result": []})
        else:
            time.sleep(max(0.0, max(winds) - 1000) / 1000)
            self.answer(200, write_answer(rows, sys.argv[2]))

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
