"""The sidecar's process as its image runs it, in an environment of its own."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "observer" / "detector_sidecar"
START_S = 90


def make_python() -> str:
    """Return an interpreter with alibi-detect; made once per lock, outside the repository."""
    venv = subprocess.run([SOURCE / "make_venv.sh"], check=True, capture_output=True, text=True, timeout=900)
    return f"{venv.stdout.strip()}/bin/python"


@contextmanager
def run_sidecar(python: str, start_s: float = START_S) -> Iterator[Path]:
    """Run the sidecar; yield its socket once it is there."""
    # A Unix socket's path may have 107 characters, which pytest's folders exceed.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "d.sock"
        process = subprocess.Popen(
            [python, "-m", "perennial_detectors.main", "--socket", path],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        try:
            deadline = time.monotonic() + start_s
            while not path.exists():
                assert process.poll() is None, "the sidecar ended"
                assert time.monotonic() < deadline, "the sidecar made no socket"
                time.sleep(0.1)
            yield path
        finally:
            process.terminate()
            process.wait(20)
