"""Our model server beside its peers: requests per second, latency and memory on one core, with the same model.

`python -m benchmarks.serving` (or `make bench-serving`) measures all of them and writes `benchmarks/serving.md` and its
chart. `--peers ours,bare` selects (the report is then printed only); `--overload` and `--observer dead,slow,error` answer
other questions about ours alone. Each peer has an environment of its own, made from `peers/*.txt` at the first run.
"""

import argparse
import os
import platform
import tempfile
from pathlib import Path

from benchmarks.environments import CannotInstall, installed
from benchmarks.serving import observers, overload
from benchmarks.serving.client import BadAnswer, Load, measure
from benchmarks.serving.measuring import (
    CONNECTIONS,
    Plan,
    Round,
    WrongAnswer,
    helper,
    measure_round,
    requests,
    serving,
    summarise,
)
from benchmarks.serving.peers import ALL, REPOSITORY, Peer
from benchmarks.serving.processes import CannotStart, cores, free_port
from benchmarks.serving.report import (
    Setting,
    align,
    render_chart,
    render_report,
    render_table,
    render_targets,
    rows_text,
    write,
)
from benchmarks.serving.subject import FEATURES, MODELS, Subject, build_subject

WANTED_CLIENT_PER_SECOND = 15_000
SIZES = (1, 64)


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


def prepare(peers: list[Peer]) -> tuple[dict[str, Path], list[str]]:
    """Make the environments; return the interpreters by peer, and what can't be had."""
    say("environments")
    pythons, missing = {}, []
    for peer in peers:
        try:
            pythons[peer.name] = peer.python()
        except CannotInstall as error:
            missing.append(f"{peer.title}: can't be installed: {error}")
            say(f"  {missing[-1]}")
    return pythons, missing


def measure_client(subject: Subject, directory: Path, plan: Plan) -> float:
    """Return how many requests per second the client itself manages."""
    server_core, client_core = cores()
    port = free_port()
    os.sched_setaffinity(0, {client_core})
    with helper("canned", port, core=server_core, output=directory / "canned.log"):
        tally = measure(port, requests(ALL[0], subject, 1), Load(CONNECTIONS, 0.5, min(plan.seconds, 3)))
    return tally.per_second


def compare(
    peers: list[Peer], pythons: dict[str, Path], subject: Subject, directory: Path, plan: Plan
) -> tuple[dict[tuple[str, int], list[Round]], list[str]]:
    """Measure all peers in rounds; return the rounds by peer and size, and what failed."""
    rounds: dict[tuple[str, int], list[Round]] = {}
    failed: dict[str, str] = {}
    for number in range(1, plan.rounds + 1):
        say(f"round {number} of {plan.rounds}")
        for peer in peers:
            if peer.name not in pythons or peer.name in failed:
                continue
            try:
                with serving(peer, pythons[peer.name], subject, directory) as at:
                    for n_rows in SIZES:
                        one = measure_round(peer, subject, at, n_rows, plan)
                        rounds.setdefault((peer.name, n_rows), []).append(one)
                        say(
                            f"  {peer.title:<20} {rows_text(n_rows):>8} {one.per_second:>9,.0f}/s "
                            f"p50 {one.p50_ms:6.2f} ms  p99 {one.p99_ms:7.2f} ms  CPU {one.cpu_us:5.0f} us  {one.memory_mib:5.0f} MiB  "
                            f"client {one.client_busy_share:4.0%}"
                            + (f"  {one.bad} not 200" if one.bad else "")
                        )
            except (CannotStart, WrongAnswer, BadAnswer, OSError) as error:
                failed[peer.name] = f"{peer.title}: {error}"
                say(f"  {failed[peer.name]}")
    return rounds, list(failed.values())


def describe(
    peers: list[Peer], pythons: dict[str, Path], subject: Subject, plan: Plan, client_per_second: float
) -> tuple[str, ...]:
    """Say under what the figures were taken."""
    server_core, client_core = cores()
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]  # fmt: skip
    where = "a core each" if server_core != client_core else "ONE core together, so the figures are too low"
    machine = f"{os.cpu_count()} cores ({names[0] if names else platform.machine()})"
    pauses = f"{plan.warm_up_s:g} s of warm-up, {plan.seconds:g} s measured"
    load = f"{CONNECTIONS} keep-alive connections in a closed loop"
    rounds = f"the median of {plan.rounds} interleaved rounds, with servers started anew in each"
    limit = "where its core is busy for nearly 100 % of the time, it is the limit"
    facts = [
        f"Machine: {machine}, Python {platform.python_version()}; server and client have {where}.",
        f"Model: {subject.title}, {FEATURES} numeric features; every server answers class and probability.",
        f"Load: {load}, {pauses}; {rounds}.",
        f"The client alone manages {client_per_second:,.0f} requests/s against a server that doesn't think; {limit}.",
        "Server CPU is the time that all of a server's processes take for a request, which busy neighbours disturb least.",
        "Memory is that of all of a server's processes after the load, pages that they share counted once.",
    ]
    seen = set()
    for peer in peers:
        if peer.name in pythons and peer.environment not in seen:
            seen.add(peer.environment)
            versions = installed(pythons[peer.name], *peer.packages)
            facts.append(
                f"{peer.title}: " + ", ".join(f"{name} {got}" for name, got in versions.items()) + "."
            )
    return tuple(facts)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", help="names separated by commas: " + ", ".join(peer.name for peer in ALL))
    parser.add_argument(
        "--seconds", type=float, help="time of one measurement (default 10; 120 for --overload)"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds before each measurement")
    parser.add_argument("--model", choices=sorted(MODELS), help="default linear; trees for --overload")
    parser.add_argument("--overload", action="store_true", help="offer ours five times what it can do")
    parser.add_argument("--times", type=float, default=5.0, help="for --overload: times the capacity")
    parser.add_argument("--rows", type=int, default=64, help="for --overload: rows per request")
    parser.add_argument(
        "--observer", help="ours with the observer up and: dead, slow, error (separated by commas)"
    )
    arguments = parser.parse_args()
    names = arguments.peers.split(",") if arguments.peers else [peer.name for peer in ALL]
    if unknown := set(names) - {peer.name for peer in ALL}:
        parser.error(
            f"--peers: {', '.join(sorted(unknown))} isn't one of {', '.join(peer.name for peer in ALL)}"
        )
    peers = [peer for peer in ALL if peer.name in names]
    seconds = arguments.seconds or (120 if arguments.overload else 10)
    plan = Plan(seconds, arguments.warm_up, arguments.rounds)
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as name:
        directory = Path(name)
        model = arguments.model or ("trees" if arguments.overload else "linear")
        subject = build_subject(model, directory, max(*SIZES, arguments.rows))
        say(f"model: {subject.title}")
        client_per_second = measure_client(subject, directory, plan)
        say(f"the client alone: {client_per_second:,.0f} requests/s")
        if client_per_second < WANTED_CLIENT_PER_SECOND:
            say(
                f"  less than {WANTED_CLIENT_PER_SECOND:,}: the machine is busy, so these figures are no figures"
            )
        if arguments.overload:
            return overload.run(subject, directory, plan, times=arguments.times, n_rows=arguments.rows)
        if arguments.observer:
            return observers.run(subject, directory, plan, modes=arguments.observer.split(","))
        pythons, missing = prepare(peers)
        rounds, failed = compare(peers, pythons, subject, directory, plan)
        figures = {key: summarise(some) for key, some in rounds.items()}
        facts = describe(peers, pythons, subject, plan, client_per_second)
    for n_rows in SIZES:
        say(f"\n{rows_text(n_rows)} a request, median of {plan.rounds}")
        say(align(render_table(peers, figures, n_rows)))
    say("\n" + align(render_targets(figures)))
    for problem in (*missing, *failed):
        say(f"not measured: {problem}")
    if arguments.peers is None:
        chart = render_chart(peers, figures, SIZES)
        setting = Setting(facts, (*missing, *failed))
        write(REPOSITORY / "benchmarks", render_report(peers, figures, SIZES, setting, "serving.svg"), chart)
        say("\nwritten: benchmarks/serving.md, benchmarks/serving.svg")
    return 1 if missing or failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
