"""One server at a time: start it, check what it says, measure it, end it. Rounds interleave the servers."""

import http.client
import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.serving.client import Load, build_request, measure
from benchmarks.serving.peers import REPOSITORY, Peer, Place
from benchmarks.serving.processes import Command, cores, cpu_s, free_port, memory_mib, running
from benchmarks.serving.subject import Subject

CONNECTIONS = 16
CHECKED_REQUESTS = 3


class WrongAnswer(Exception):
    """A server answers something else than the model."""


@dataclass(frozen=True)
class Plan:
    """How long to measure, and how often."""

    seconds: float
    warm_up_s: float
    rounds: int


@dataclass(frozen=True)
class Round:
    """One measurement of one server and one size of request."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    memory_mib: float
    client_busy_share: float
    bad: int


@dataclass(frozen=True)
class Figure:
    """The median over the rounds, and the slowest and the fastest of them."""

    per_second: float
    lowest: float
    highest: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    memory_mib: float
    client_busy_share: float
    bad: int


def summarise(rounds: list[Round]) -> Figure:
    """Take medians; bad answers are added up."""

    def median(name: str) -> float:
        return statistics.median(getattr(one, name) for one in rounds)

    rates = [one.per_second for one in rounds]
    return Figure(
        per_second=median("per_second"),
        lowest=min(rates),
        highest=max(rates),
        p50_ms=median("p50_ms"),
        p99_ms=median("p99_ms"),
        cpu_us=median("cpu_us"),
        memory_mib=median("memory_mib"),
        client_busy_share=median("client_busy_share"),
        bad=sum(one.bad for one in rounds),
    )


@contextmanager
def helper(module: str, port: int, *arguments: str, core: int, output: Path) -> Iterator[None]:
    """Run one of our own little servers: the observer, or the one that the client is measured against."""
    start = [sys.executable, "-m", f"benchmarks.serving.{module}", str(port), *arguments]
    with running(Command(start, {}, REPOSITORY, ""), port, core, output):
        yield


@contextmanager
def serving(
    peer: Peer, python: Path, subject: Subject, directory: Path, observer: str = "up"
) -> Iterator[tuple[int, int]]:
    """Run a peer, with an observer beside the client if it logs; yield its port and process id.

    Parameters
    ----------
    observer
        The observer's mode; ``dead``: there is none at its address.
    """
    server_core, client_core = cores()
    with ExitStack() as stack:
        url = None
        if peer.logs:
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            if observer != "dead":
                stack.enter_context(
                    helper("observer", port, observer, core=client_core, output=directory / "observer.log")
                )
        place = Place(subject, free_port(), directory, url)
        pid = stack.enter_context(
            running(peer.start(place, python), place.port, server_core, directory / f"{peer.name}.log")
        )
        yield place.port, pid


def requests(peer: Peer, subject: Subject, n_rows: int) -> list[bytes]:
    """Build the different requests of `n_rows` rows."""
    return [build_request(peer.path, peer.body(subject.rows[block])) for block in subject.blocks(n_rows)]


def check_answers(peer: Peer, subject: Subject, port: int, n_rows: int) -> None:
    """Compare a few answers with the model's.

    Raises
    ------
    WrongAnswer
        With what was wanted and what came.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        for block in subject.blocks(n_rows)[:CHECKED_REQUESTS]:
            body = peer.body(subject.rows[block])
            connection.request("POST", peer.path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise WrongAnswer(f"{peer.title}: status {answer.status}: {content[:300]!r}")
            predict, probability = peer.read(content)
            if list(predict) != subject.predict[block].tolist():
                raise WrongAnswer(f"{peer.title}: predicts {predict} instead of {subject.predict[block]}")
            if not np.allclose(probability, subject.probability[block], rtol=1e-5, atol=1e-7):
                raise WrongAnswer(
                    f"{peer.title}: probability {probability}, not {subject.probability[block]}"
                )
    finally:
        connection.close()


def measure_round(
    peer: Peer, subject: Subject, running_at: tuple[int, int], n_rows: int, plan: Plan
) -> Round:
    """Check and measure a server that runs at a port as a process."""
    port, pid = running_at
    check_answers(peer, subject, port, n_rows)
    load = Load(CONNECTIONS, plan.warm_up_s, plan.seconds)
    tally = measure(port, requests(peer, subject, n_rows), load, lambda: cpu_s(pid))
    return Round(
        per_second=tally.per_second,
        p50_ms=tally.latency_ms(0.5),
        p99_ms=tally.latency_ms(0.99),
        cpu_us=tally.cpu_us,
        memory_mib=memory_mib(pid),
        client_busy_share=tally.busy_share,
        bad=sum(n for status, n in tally.statuses.items() if status != 200),
    )
