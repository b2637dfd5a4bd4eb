"""The sidecar's own promises: the release that it may load, its probe, and requests that are not requests."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.errors import DetectorUnavailable

from tests.contract.detectors.process import SOURCE


def test_it_runs_the_last_apache_release(sidecar):
    assert sidecar.version() == "0.11.4"


def test_the_lock_names_the_release_and_no_address():
    lock = (SOURCE / "requirements.lock").read_text()
    assert "alibi-detect==0.11.4" in lock
    assert "://" not in lock


def test_the_probe_succeeds_while_it_answers_and_fails_when_nobody_does(sidecar, sidecar_python, tmp_path):
    def probe(path: Path) -> int:
        command = [sidecar_python, "-m", "perennial_detectors.main", "--check", "--socket", path]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        return subprocess.run(command, env=environment, timeout=60, check=False).returncode

    assert probe(sidecar.socket_path) == 0
    assert probe(tmp_path / "absent.sock") == 1


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00\x00",
        struct.pack(">I", 5) + b"hello",
        struct.pack(">I", 2**31) + b"x",
        struct.pack(">I", 100) + b"x",
    ],
)
def test_what_is_no_request_leaves_it_serving(sidecar, frame):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10.0)
        connection.connect(str(sidecar.socket_path))
        connection.sendall(frame)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(1 << 16):
                pass
    assert sidecar.version() == "0.11.4"


SERVE_WITH_VERSION = """
import sys, threading
from pathlib import Path
from perennial_detectors.engine import Engine
from perennial_detectors.errors import EngineUnavailable
from perennial_detectors.server import DetectorServer
engine = Engine(version=sys.argv[2])
try:
    engine.load()
    raise SystemExit("loaded it")
except EngineUnavailable as error:
    with DetectorServer(Path(sys.argv[1]), engine, unavailable=error) as server:
        assert "alibi_detect" not in sys.modules
        print("ready", flush=True)
        server.serve_forever()
"""


@pytest.mark.parametrize(
    ("version", "reason"), [("0.11.5", "LicenceForbids"), ("0.13.0", "LicenceForbids"), ("", "EngineMissing")]
)
def test_a_release_under_bsl_is_reported_and_never_imported(tmp_path_factory, version, reason):
    path = Path(os.path.relpath(tmp_path_factory.mktemp("s") / "d.sock"))
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE_WITH_VERSION, path, version],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(DetectorUnavailable) as caught:
            Sidecar(path, 10.0).version()
        assert caught.value.reason == reason
    finally:
        process.terminate()
        process.communicate(timeout=10)
