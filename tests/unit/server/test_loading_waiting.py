import json

import pytest
from perennial_server.loading.progress import Progress
from perennial_server.loading.waiting import render_answer


def ask(path, progress=None):
    answer = render_answer(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode(), progress or Progress())
    head, body = answer.split(b"\r\n\r\n", 1)
    assert f"content-length: {len(body)}".encode() in head
    return int(head.split(b" ")[1]), json.loads(body)


def test_a_server_that_loads_is_alive_and_not_ready():
    assert ask("/v2/health/live") == (200, {"live": True})
    progress = Progress(total_bytes=100)
    progress.advance(40)
    status, body = ask("/v2/health/ready", progress)
    assert status == 503
    assert body == {"ready": False, "loading": {"phase": "Fetching", "doneBytes": 40, "totalBytes": 100}}


@pytest.mark.parametrize("path", ["/v2/models/flights/infer", "/metrics", "/", ""])
def test_all_else_is_put_off(path):
    status, body = ask(path)
    assert status == 503
    assert "being loaded" in body["error"]


def test_no_head_is_answered_with_nonsense():
    assert render_answer(b"\r\n\r\n", Progress()).startswith(b"HTTP/1.1 503 ")


def test_a_long_download_says_so_in_the_log_every_ten_seconds(caplog):
    caplog.set_level("INFO")
    now = [100.0]
    progress = Progress(clock=lambda: now[0], total_bytes=1000)
    for second in range(25):
        now[0] = 100.0 + second
        progress.advance(10)
    got = [record.getMessage() for record in caplog.records]
    assert got == [
        "fetching done_bytes=110 total_bytes=1000",
        "fetching done_bytes=210 total_bytes=1000",
    ]
