"""Asks a user's function, in a process of its own, or a user's HTTP endpoint for a number.

Whatever goes wrong is an answer without a value whose reason says what, never an exception.
"""

import asyncio
import contextlib
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from perennial_observer.monitors.custom.child import ANSWER, FRAMES

__all__ = ["Answer", "call_function", "call_url", "read_answer"]

MAX_ANSWER_BYTES = 64 << 10
LONGEST_QUOTE = 300
_OK = 200
# What the function's process knows of the observer's environment: neither the database's address nor any secret.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH")
# One thread, and memory by malloc: pools and threads would take room that the function needs.
FRUGAL = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Answer:
    """A finite number, or why there is none."""

    value: float | None
    reason: str = ""
    message: str = ""


def call_function(function: str, frames: bytes, *, timeout_s: float, memory_bytes: int) -> Answer:
    """Call ``package.module:function`` with two DataFrames.

    Parameters
    ----------
    frames
        JSON: ``window`` and ``reference``, each by column.
    """
    try:
        return _call_in_folder(function, frames, timeout_s, memory_bytes)
    except OSError as error:
        return Answer(None, "CustomFailed", f"{function} can't be run: {_quote(error)}")


def _call_in_folder(function: str, frames: bytes, timeout_s: float, memory_bytes: int) -> Answer:
    with tempfile.TemporaryDirectory(prefix="custom-") as name:
        folder = Path(name)
        (folder / FRAMES).write_bytes(frames)
        arguments = [str(folder), function, str(memory_bytes)]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "perennial_observer.monitors.custom.child", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={key: os.environ[key] for key in PASSED_ON if key in os.environ} | FRUGAL | {"HOME": name},
            cwd=name,
            start_new_session=True,
        )
        ended = _wait_and_end(process, timeout_s)
        if not ended:
            return Answer(None, "CustomTimeout", f"{function} gave no answer in {timeout_s:g} s")
        try:
            with (folder / ANSWER).open("rb") as file:
                return _name(function, read_answer(file.read(MAX_ANSWER_BYTES + 1)))
        except FileNotFoundError:
            return Answer(None, "CustomFailed", f"{function} ended its process ({_say(process.returncode)})")


def _wait_and_end(process: "subprocess.Popen[bytes]", timeout_s: float) -> bool:
    """Wait for the process, then end it and what it started; return whether it had ended by itself.

    It is not reaped before its group is ended: else the group's number could already be another's.
    """
    handle = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        ended = bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(handle)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return ended


def _say(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _name(who: str, answer: Answer) -> Answer:
    return answer if answer.value is not None else Answer(None, answer.reason, f"{who}: {answer.message}")


def call_url(url: str, body: bytes, *, timeout_s: float) -> Answer:
    """Post JSON to an address and read ``{"value": number}``. Nothing else may run in the calling thread."""
    try:
        return _name(url, asyncio.run(_post(url, body, timeout_s)))
    except TimeoutError:
        return Answer(None, "CustomTimeout", f"{url} gave no answer in {timeout_s:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Answer(None, "CustomFailed", f"{url} can't be asked: {_quote(error)}")


async def _post(url: str, body: bytes, timeout_s: float) -> Answer:
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with (
        aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
        # A redirect would lead to an address that nobody has allowed.
        session.post(url, data=body, headers=headers, allow_redirects=False) as response,
    ):
        if response.status != _OK:
            return Answer(None, "CustomFailed", f"the answer is HTTP {response.status}, not 200")
        found = b""
        while len(found) <= MAX_ANSWER_BYTES:
            more = await response.content.read(MAX_ANSWER_BYTES + 1 - len(found))
            if not more:
                break
            found += more
        return read_answer(found)


def read_answer(body: bytes) -> Answer:
    """Return the number in an answer, or why there is none."""
    if len(body) > MAX_ANSWER_BYTES:
        return Answer(None, "CustomInvalid", f"the answer has more than {MAX_ANSWER_BYTES >> 10} KiB")
    try:
        answer: Any = orjson.loads(body)
    except ValueError:
        return Answer(None, "CustomInvalid", "the answer is no JSON")
    match answer:
        case {"value": bool()}:
            pass
        case {"value": int() | float() as value} if math.isfinite(value):
            return Answer(float(value))
        case {"reason": str(reason), "message": str(message)}:
            known = reason if reason in {"CustomFailed", "CustomInvalid"} else "CustomFailed"
            return Answer(None, known, _quote(message))
    return Answer(None, "CustomInvalid", 'the answer isn\'t {"value": number} with a finite number')


def _quote(said: object) -> str:
    """Return what the other side said, short enough for a status."""
    return " ".join(str(said).split())[:LONGEST_QUOTE]
