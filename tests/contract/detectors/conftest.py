"""The sidecar as its image runs it."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from perennial_observer.detectors.sidecar import Sidecar

SOURCE = Path(__file__).parents[3] / "observer" / "detector_sidecar"
START_S = 90


@pytest.fixture(scope="session")
def sidecar_python() -> str:
    """Interpreter with alibi-detect; made once per lock, outside the repository."""
    venv = subprocess.run(
        [SOURCE / "make_venv.sh"], check=True, capture_output=True, text=True
    ).stdout.strip()
    return f"{venv}/bin/python"


@pytest.fixture(scope="session")
def sidecar(sidecar_python: str) -> Iterator[Sidecar]:
    # A Unix socket's path may have 107 characters, which pytest's folders exceed.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "d.sock"
        process = subprocess.Popen(
            [sidecar_python, "-m", "perennial_detectors.main", "--socket", path],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        try:
            deadline = time.monotonic() + START_S
            while not path.exists():
                assert process.poll() is None, "the sidecar ended"
                assert time.monotonic() < deadline, "the sidecar made no socket"
                time.sleep(0.1)
            yield Sidecar(path, 30.0)
        finally:
            process.terminate()
            process.wait(20)
