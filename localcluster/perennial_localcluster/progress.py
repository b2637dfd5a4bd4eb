"""Shows which step runs and how much time is left, on a terminal or in a log.

The estimate is what the remaining steps took last time on this machine, or their
committed weights, scaled by how fast the finished steps turned out to be.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.status import Status

from perennial_localcluster.record import write_atomically

# How much of the estimate the first finished seconds must make up before their speed counts.
TRUSTED_SHARE = 0.1
LEAST_MEASURED_S = 1.0


@dataclass(frozen=True)
class Step:
    """One step of `up`; ``weight_s`` is its time on two cores, used until it has been measured here."""

    name: str
    weight_s: float
    action: Callable[[], None]


def estimate_left_s(expected_s: Sequence[float], done_s: Sequence[float], running_s: float) -> float:
    """Return the seconds left.

    Parameters
    ----------
    expected_s
        The expected seconds of all steps, in order.
    done_s
        The measured seconds of the finished steps, the first ones of ``expected_s``.
    running_s
        How long the current step has been running.

    Examples
    --------
    Half of the work took twice as long as expected, so the other half will, too:

    >>> estimate_left_s([10, 10], [20], 0)
    20.0
    """
    expected_done_s = sum(expected_s[: len(done_s)])
    speed = 1.0
    if expected_done_s > TRUSTED_SHARE * sum(expected_s):
        speed = sum(done_s) / expected_done_s
    current, *later = list(expected_s[len(done_s) :]) or [0.0]
    return max(current * speed - running_s, 0.0) + sum(later) * speed


def render_duration(seconds: float) -> str:
    """Return seconds as people say them: ``45 s``, ``3 min 10 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def read_durations(path: Path) -> dict[str, float]:
    """Return the recorded seconds by step name; empty if nothing usable is recorded."""
    try:
        return {str(name): float(value) for name, value in json.loads(path.read_text()).items()}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}


def run_steps(steps: Sequence[Step], durations: Path, *, stream: TextIO | None = None) -> None:
    """Run steps in order and show them; called by `up`."""
    measured = read_durations(durations)
    expected_s = [measured.get(step.name, step.weight_s) for step in steps]
    done_s: list[float] = []
    console = Console(file=stream or sys.stderr, highlight=False)
    for number, step in enumerate(steps, start=1):
        started = time.monotonic()

        def describe(number: int = number, step: Step = step, started: float = started) -> str:
            left_s = estimate_left_s(expected_s, done_s, time.monotonic() - started)
            return f"[{number}/{len(steps)}] {step.name} (about {render_duration(left_s)} left)"

        with _shown(console, describe):
            step.action()
        done_s.append(time.monotonic() - started)
        if console.is_terminal:
            console.print(f"[{number}/{len(steps)}] {step.name}: {render_duration(done_s[-1])}", markup=False)
        # A step that found everything done says nothing about how long its work takes.
        if done_s[-1] >= LEAST_MEASURED_S:
            measured[step.name] = round(done_s[-1], 1)
        write_atomically(durations, json.dumps(measured, indent=1, sort_keys=True), mode=0o644)


@contextmanager
def _shown(console: Console, describe: Callable[[], str]) -> Iterator[None]:
    """Show one step: a live line on a terminal, one plain line elsewhere."""
    if not console.is_terminal:
        console.print(describe(), markup=False, soft_wrap=True)
        yield
        return
    ended = threading.Event()
    with Status("", console=console) as status:

        def refresh() -> None:
            while not ended.wait(0.5):
                status.update(describe().replace("[", r"\["))

        ticker = threading.Thread(target=refresh, daemon=True)
        status.update(describe().replace("[", r"\["))
        ticker.start()
        try:
            yield
        finally:
            ended.set()
            ticker.join()
