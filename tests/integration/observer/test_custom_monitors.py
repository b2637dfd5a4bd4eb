"""A user's own numbers, by function and by endpoint, from rows that are sent to verdicts."""

import asyncio
import json
import os
import select
import signal
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from perennial_api.monitorreport import MonitorReportStatus, MonitorState
from perennial_observer.monitors.custom.call import call_function, call_url
from perennial_observer.settings import Settings

from .conftest import Running, deployment, run_observer
from .test_monitoring import (
    STABLE,
    WINDOW,
    Stream,
    judged_windows,
    send_reference,
    send_rows,
    verdict,
)
from .test_quality import quality, spec

WAIT_S = 60.0
MEMORY = 512 << 20


@pytest.fixture
def checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's package in the image."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "checks.py").write_text(
        textwrap.dedent(
            """
            import os, sys, time
            import numpy as np

            def sugar(window, reference):
                return float(window["sugar"].mean() - reference["sugar"].mean())

            def shape(window, reference):
                assert list(window["__output__predict"]) == [1] * len(window)
                assert window["__event_time__"].is_monotonic_increasing
                return np.int64(len(window) * 10_000 + len(reference))

            def fail(window, reference):
                raise ValueError("no such luck")

            def leave(window, reference):
                sys.exit(0)

            def crash(window, reference):
                os.abort()

            def hang(window, reference):
                time.sleep(600)

            def swallow(window, reference):
                return len(bytearray(4 << 30))

            def nothing(window, reference):
                return float("nan")

            def text(window, reference):
                return "high"

            def truth(window, reference):
                return np.bool_(True)

            def huge(window, reference):
                return 10 ** 400

            def secrets(window, reference):
                return sum(name.startswith("PERENNIAL_") for name in os.environ)
            """
        )
    )
    (folder / "stuck.py").write_text(
        textwrap.dedent(
            """
            import os, pathlib, subprocess, sys, time

            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            pathlib.Path(os.environ["PYTHONPATH"], "child").write_text(str(child.pid))
            time.sleep(600)
            """
        )
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("PERENNIAL_DATABASE_URL", "postgresql://user:secret@database")
    return folder


FRAMES = json.dumps({"window": {"sugar": [1.0, 2.0]}, "reference": {}}).encode()


def call(function: str, timeout_s: float = WAIT_S):
    return call_function(f"checks:{function}", FRAMES, timeout_s=timeout_s, memory_bytes=MEMORY)


@pytest.mark.parametrize(
    ("function", "reason", "message"),
    [
        ("fail", "CustomFailed", "checks:fail: ValueError: no such luck"),
        ("leave", "CustomFailed", "checks:leave: SystemExit: 0"),
        ("crash", "CustomFailed", "checks:crash ended its process (SIGABRT)"),
        ("swallow", "CustomFailed", "checks:swallow: MemoryError"),
        ("sugar", "CustomFailed", "checks:sugar: KeyError: 'sugar'"),
        ("absent", "CustomFailed", "module 'checks' has no attribute 'absent'"),
        ("nothing", "CustomInvalid", "checks:nothing: it returned nan, not a finite number"),
        ("text", "CustomInvalid", "it returned 'high', not a finite number"),
        ("truth", "CustomInvalid", "it returned True, not a finite number"),
        ("huge", "CustomInvalid", "not a finite number"),
    ],
)
def test_a_function_that_goes_wrong_says_how(checks, function, reason, message):
    got = call(function)
    assert (got.value, got.reason) == (None, reason)
    assert message in got.message


def test_a_function_knows_nothing_of_the_observers_environment(checks):
    assert call("secrets").value == 0.0


def test_a_function_that_hangs_is_ended_with_what_it_started(checks):
    # The time must suffice to start Python, or there is nothing to end.
    got = call_function("stuck:never", FRAMES, timeout_s=10.0, memory_bytes=MEMORY)
    assert (got.value, got.reason) == (None, "CustomTimeout")
    child = int((checks / "child").read_text())
    handle = None
    try:
        handle = os.pidfd_open(child)
        # Whoever was killed ends when it has its turn on the processor; it can be read from then on, reaped or not.
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        assert ended.poll(WAIT_S * 1_000)
    except ProcessLookupError:
        pass
    finally:
        if handle is not None:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)


Reply = Callable[[BaseHTTPRequestHandler, bytes], None]


def answer(body: bytes, status: int = 200, **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


class Endpoint:
    """A user's HTTP endpoint."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.over = threading.Event()
        self.replies: dict[str, Reply] = {
            "/mean": self._mean,
            "/redirect": answer(b"", 302, Location="/mean"),
            "/error": answer(b"", 500),
            "/huge": answer(b'{"value": 1}' + b" " * (1 << 20)),
            "/text": answer(b'{"value": "high"}'),
            "/slow": lambda *_: self.over.wait(WAIT_S) and None,
        }
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.replies[self.path](self, body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def _mean(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        document = json.loads(body)
        self.bodies.append(document)
        sugar = document["columns"]["sugar"]
        answer(json.dumps({"value": sum(sugar) / len(sugar)}).encode())(handler, body)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    found = Endpoint()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.over.set()
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.mark.parametrize(
    ("path", "timeout_s", "reason", "message"),
    [
        ("/redirect", WAIT_S, "CustomFailed", "the answer is HTTP 302, not 200"),
        ("/error", WAIT_S, "CustomFailed", "the answer is HTTP 500, not 200"),
        ("/huge", WAIT_S, "CustomInvalid", "more than 64 KiB"),
        ("/text", WAIT_S, "CustomInvalid", '{"value": number}'),
        ("/slow", 0.5, "CustomTimeout", "gave no answer in 0.5 s"),
    ],
)
def test_an_endpoint_that_goes_wrong_says_how(endpoint, path, timeout_s, reason, message):
    got = call_url(endpoint.url + path, b"{}", timeout_s=timeout_s)
    assert (got.value, got.reason) == (None, reason)
    assert message in got.message
    assert endpoint.bodies == []


def test_an_endpoint_that_nobody_serves_says_so(endpoint):
    got = call_url("http://127.0.0.1:1/mean", b"{}", timeout_s=WAIT_S)
    assert (got.value, got.reason) == (None, "CustomFailed")


async def answered(running: Running) -> MonitorReportStatus:
    """Look, wait for the numbers that are asked for, and look again."""
    await running.look()
    for _, future in list(running.observer.evaluator.assessors.custom._waiting.values()):
        await asyncio.to_thread(future.result, WAIT_S)
    return await running.look()


def own(name: str, **custom: Any) -> dict[str, Any]:
    return {"name": name, "type": "Custom", "custom": custom}


async def test_numbers_of_the_users_own_decide_by_their_bounds(settings: Settings, cluster, checks, endpoint):
    allowing = settings.model_copy(update={"custom_modules": ("checks",), "custom_urls": (endpoint.url,)})
    watched = spec(
        own("function", entryPoint="checks:sugar", max=0.5, timeout="60s"),
        own("endpoint", url=f"{endpoint.url}/mean", min=-0.5, max=0.5, timeout="60s"),
    )
    stream = Stream()
    async with run_observer(allowing, cluster, deployment(watched)) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        status = await answered(running)
        for name in ("function", "endpoint"):
            got = verdict(status, name)
            assert (got.state, got.reason, got.threshold) == (MonitorState.OK, "WithinBound", 0.5)
            assert abs(got.statistic) < 0.5
        for _ in range(2):
            await send_rows(running, stream.rows(WINDOW, shift=1.0))
            status = await answered(running)
        for name in ("function", "endpoint"):
            got = verdict(status, name)
            assert (got.state, got.reason) == (MonitorState.ALARM, "BoundExceeded")
            assert len(judged_windows(running, name)) == 3
        assert len(endpoint.bodies) == 3
        first = endpoint.bodies[0]
        assert (first["namespace"], first["deployment"], first["revision"], first["monitor"]) == (
            "shop",
            "wine",
            STABLE,
            "endpoint",
        )


async def test_the_function_gets_the_window_and_the_reference(settings: Settings, cluster, checks):
    allowing = settings.model_copy(update={"custom_modules": ("checks",)})
    watched = spec(own("shape", entryPoint="checks:shape", min=0.0, timeout="60s"))
    async with run_observer(allowing, cluster, deployment(watched)) as running:
        await send_reference(running)
        await send_rows(running, Stream().rows(WINDOW))
        assert verdict(await answered(running), "shape").statistic == WINDOW * 10_000 + 5_000


async def test_bad_monitors_of_the_users_own_say_so_and_harm_nobody(settings: Settings, cluster, checks):
    allowing = settings.model_copy(update={"custom_modules": ("checks",)})
    watched = spec(
        own("hangs", entryPoint="checks:hang", max=1.0, timeout="2s"),
        own("forbidden", entryPoint="os:abort", max=1.0),
        own("elsewhere", url="http://169.254.169.254/", max=1.0),
        quality(),
    )
    async with run_observer(allowing, cluster, deployment(watched)) as running:
        await send_reference(running)
        await send_rows(running, Stream().rows(WINDOW))
        status = await running.look()
        assert verdict(status, "quality").state is MonitorState.OK
        assert verdict(status, "hangs").state is MonitorState.INSUFFICIENT
        for name, reason in (("forbidden", "ModuleNotAllowed"), ("elsewhere", "AddressNotAllowed")):
            assert (verdict(status, name).state, verdict(status, name).reason) == (MonitorState.ERROR, reason)
        got = verdict(await answered(running), "hangs")
        assert (got.state, got.reason) == (MonitorState.ERROR, "CustomTimeout")
        assert len(judged_windows(running, "hangs")) == 1
