"""Data quality, silence, slices and a user's own numbers, from rows that are sent to verdicts."""

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
from perennial_observer.errors import DetectorUnavailable
from perennial_observer.monitors.custom.call import call_function, call_url
from perennial_observer.monitors.looks.assessors import RETRY_S, MissingReference
from perennial_observer.monitors.references.beside import Preparing
from perennial_observer.monitors.windows.slices import UnknownFeature
from perennial_observer.settings import Settings

from .conftest import Running, deployment, run_observer
from .test_monitoring import (
    SERVER,
    STABLE,
    WINDOW,
    Stream,
    judged_windows,
    send_labels,
    send_reference,
    send_rows,
    verdict,
)

WAIT_S = 60.0
MEMORY = 512 << 20
WINDOWS = {"window": {"size": WINDOW, "maxAge": "1h", "minSamples": 100}}
ACCURACY = {
    "name": "accuracy",
    "type": "Performance",
    "performance": {"metric": "accuracy", "min": 0.8, "labels": {"maturity": "1s", "minLabels": 50}},
}


def spec(*monitors: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"monitoring": {"eventTime": "at", "defaults": WINDOWS, "monitors": list(monitors), **more}}


def quality(**settings: Any) -> dict[str, Any]:
    return {"name": "quality", "type": "DataQuality", "dataQuality": settings}


async def send_unfit(running: Running, n: int) -> None:
    entry = {
        "prediction_id": f"unfit-{n}",
        "time": 0.0,
        "inputs": {"vintage": [2020] * n},
        "outputs": {"predict": [1] * n},
    }
    got = await running.client.post("/v1/log", json={"revision": STABLE, "entries": [entry]}, headers=SERVER)
    assert got.status_code == 202


async def test_bad_values_raise_an_alarm_that_names_them_and_good_ones_clear_it(settings, cluster):
    stream = Stream()
    async with run_observer(settings, cluster, deployment(spec(quality()))) as running:
        await send_reference(running)
        states = []
        for bad in (0, 60, 60, 0, 0, 0):
            columns = stream.rows(WINDOW)
            columns["region"][:bad] = ["Mars"] * bad
            columns["sugar"][: bad // 2] = [None] * (bad // 2)
            await send_rows(running, columns)
            status = await running.look()
            states.append(verdict(status, "quality").state.value)
            if states == ["Ok", "Warning", "Alarm"]:
                alarm = verdict(status, "quality")
        assert states == ["Ok", "Warning", "Alarm", "Alarm", "Alarm", "Ok"]
        assert [f.name for f in alarm.features[:2]] == ["region", "sugar"]
        assert alarm.reason == "UnseenCategories"
        assert "region: 60 of 250 values are categories never seen (24.0%, 1.0% allowed)" in alarm.message
        assert alarm.statistic > alarm.threshold == 1.0


async def test_rows_that_do_not_fit_count_in_the_window_during_which_they_came(settings, cluster):
    stream = Stream()
    async with run_observer(settings, cluster, deployment(spec(quality()))) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        assert verdict(await running.look(), "quality").state is MonitorState.OK
        await send_unfit(running, 50)
        await send_rows(running, stream.rows(WINDOW))
        got = verdict(await running.look(), "quality")
        assert (got.state, got.reason) == (MonitorState.WARNING, "RowsRejected")
        assert "50 of 300 rows don't fit the schema, most often UnknownColumn" in got.message
        await send_rows(running, stream.rows(WINDOW))
        assert verdict(await running.look(), "quality").state is MonitorState.OK


class Clock:
    """Seconds since the epoch, moved by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_silence_is_one_alarm_that_outlives_a_restart_and_ends_with_the_next_row(settings, cluster):
    stream, clock = Stream(), Clock()
    watched = deployment(spec(quality(maxSilence="10m"), {**quality(), "name": "patient"}))
    async with run_observer(settings, cluster, watched, clock=clock) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        assert verdict(await running.look(), "quality").state is MonitorState.OK
        clock.now += 601.0
        first = verdict(await running.look(), "quality")
        assert (first.state, first.reason) == (MonitorState.ALARM, "Silent")
        assert first.last_transition_time.timestamp() == clock.now
        clock.now += 3_600.0
        assert verdict(await running.look(), "quality") == first
    async with run_observer(settings, cluster, watched, clock=clock) as running:
        status = await running.look()
        assert verdict(status, "quality") == first
        assert verdict(status, "patient").state is MonitorState.OK
        await send_rows(running, stream.rows(1))
        after = verdict(await running.look(), "quality")
        assert (after.state, after.reason, after.breach_id) == (MonitorState.OK, "WithinLimits", None)
        assert after.last_transition_time.timestamp() == clock.now
        assert len(judged_windows(running, "quality")) == 1
    raised = {v.breach_id for s in cluster.written for v in s.monitors if v.state is MonitorState.ALARM}
    assert raised == {first.breach_id}


@pytest.mark.parametrize(
    "lack",
    [
        Preparing(),
        MissingReference("there is none"),
        DetectorUnavailable("no answer"),
        UnknownFeature("there is none"),
    ],
    ids=lambda lack: type(lack).__name__,
)
async def test_silence_that_ends_in_a_look_that_judges_one_window_and_not_the_next_loses_none(
    settings, cluster, monkeypatch, lack
):
    stream, clock = Stream(), Clock()
    watched = deployment(spec(quality(maxSilence="10m")))
    async with run_observer(settings, cluster, watched, clock=clock) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        await running.look()
        clock.now += 601.0
        assert verdict(await running.look(), "quality").reason == "Silent"
        for _ in range(2):
            await send_rows(running, stream.rows(WINDOW))
        assessors = running.observer.evaluator.assessors
        assess, calls = assessors.assess, []

        def assess_one(question):
            calls.append(question)
            if len(calls) > 1:
                raise lack
            return assess(question)

        with monkeypatch.context() as hindered:
            hindered.setattr(assessors, "assess", assess_one)
            await running.look()
        assert (len(calls), len(judged_windows(running, "quality"))) == (2, 2)
        clock.now += RETRY_S
        assert verdict(await running.look(), "quality").reason == "WithinLimits"
        assert len(judged_windows(running, "quality")) == 3


async def test_a_slice_is_judged_alone(settings, cluster):
    stream = Stream()
    sliced = {**ACCURACY, "name": "rioja", "slice": "rioja"}
    where = [{"name": "rioja", "where": 'region == "Rioja"'}]
    async with run_observer(settings, cluster, deployment(spec(ACCURACY, sliced, slices=where))) as running:
        await send_reference(running)
        for _ in range(2):
            columns = stream.rows(WINDOW)
            name = await send_rows(running, columns)
            # Right for Alsace, wrong for every third bottle of Rioja: 5 of 6 in all.
            wrong = [region == "Rioja" and i % 3 == 0 for i, region in enumerate(columns["region"])]
            await send_labels(running, name, [0 if w else 1 for w in wrong])
        await send_rows(running, stream.rows(WINDOW))
        status = await running.look()
        assert verdict(status, "accuracy").state is MonitorState.OK
        got = verdict(status, "rioja")
        assert got.statistic == pytest.approx(2 / 3, abs=0.1)
        assert got.state is MonitorState.ALARM
        assert 80 < got.window_samples < 170


async def test_a_slice_that_is_too_small_is_insufficient_and_not_ok(settings, cluster):
    stream = Stream()
    small = {**quality(), "slice": "rare"}
    where = [{"name": "rare", "where": "sugar > 2"}]
    async with run_observer(settings, cluster, deployment(spec(small, slices=where))) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(WINDOW))
        got = verdict(await running.look(), "quality")
        assert (got.state, got.reason) == (MonitorState.INSUFFICIENT, "TooFewSamples")
        assert got.window_samples < 30


async def test_a_slice_on_an_unknown_column_says_so_loses_no_window_and_harms_nobody(settings, cluster):
    stream = Stream()
    monitors = ({**quality(), "slice": "old"}, {**quality(), "name": "all"})
    wrong = deployment(spec(*monitors, slices=[{"name": "old", "where": "age > 3"}]))
    async with run_observer(settings, cluster, wrong) as running:
        await send_reference(running)
        await send_rows(running, stream.rows(10))
        early = verdict(await running.look(), "quality")
        assert (early.state, early.reason) == (MonitorState.ERROR, "UnknownFeature")
        assert "names age, which the model's schema doesn't have" in early.message
        await send_rows(running, stream.rows(WINDOW))
        status = await running.look()
        assert verdict(status, "all").state is MonitorState.OK
        right = deployment(spec(*monitors, slices=[{"name": "old", "where": "sugar > -3"}]))
        running.observer.registry.put(right)
        assert verdict(await running.look(), "quality").state is MonitorState.OK
        assert len(judged_windows(running, "quality")) == 1


# Custom


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
