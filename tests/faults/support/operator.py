"""The operator as a process of this machine: it can be killed, stopped, and is started again as by a kubelet."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_TIMEOUT_S = 15
COMMAND = (str(Path(sys.executable).with_name("perennial-operator")),)

# Everything in seconds, so that a rollout fits into a test. A lease as short as this asks for a free CPU now and then.
SHORT_TIMES = {
    "LEASE_DURATION_S": "8",
    "LEASE_RENEW_DEADLINE_S": "7",
    "LEASE_RETRY_S": "0.5",
    "SCALE_DOWN_DELAY_S": "1",
    "DRAIN_TIMEOUT_S": "5",
    "VERIFY_INTERVAL_S": "0.2",
}


class HostOperator:
    """One operator process, started again whenever it ends before `stop`.

    Parameters
    ----------
    log
        File that its output is appended to, over all restarts.
    settings
        Its settings, names without the prefix PERENNIAL_.
    """

    def __init__(self, log: Path, settings: Mapping[str, str], command: Sequence[str] = COMMAND) -> None:
        self.log = log
        self._command = list(command)
        self._environment = _build_environment(settings)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._killed: set[int] = set()
        self.restarts = 0
        self.unexpected_exits: list[int] = []

    def __enter__(self) -> Self:
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, name="operator-keeper", daemon=True)
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        with self._lock:
            return self._process.pid

    def kill(self) -> None:
        """Kill it as a node that loses its power does; it is started again at once."""
        with self._lock:
            self._killed.add(self._process.pid)
            self._process.kill()

    def suspend(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        self._stopping.set()
        with self._lock:
            process = self._process
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
        self._keeper.join(STOP_TIMEOUT_S)

    def tracebacks(self) -> list[str]:
        """Return the lines with which a traceback begins, each with the line before it."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [
            f"{lines[i - 1] if i else ''} … {line}"
            for i, line in enumerate(lines)
            if line.startswith("Traceback")
        ]

    def _keep(self) -> None:
        while True:
            with self._lock:
                process = self._process
            code = process.wait()
            with self._lock:
                if self._stopping.is_set():
                    return
                if process.pid not in self._killed:
                    self.unexpected_exits.append(code)
                self.restarts += 1
                self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )


def _build_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Keep what a process needs of this one's environment; a web proxy would see what is meant for ours."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PERENNIAL_") and not name.lower().endswith("_proxy")
    }
    own = {"HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(_find_free_port()), **settings}
    return kept | {f"PERENNIAL_{name}": value for name, value in own.items()}


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
