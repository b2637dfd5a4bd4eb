"""What clients notice when the observer is dead, slow or erring: nothing, if all is well."""

import urllib.request
from pathlib import Path

from benchmarks.serving.measuring import Plan, Round, measure_round, serving, summarise
from benchmarks.serving.observer import MODES
from benchmarks.serving.peers import ALL
from benchmarks.serving.processes import CannotStart
from benchmarks.serving.subject import Subject


def run(subject: Subject, directory: Path, plan: Plan, *, modes: list[str]) -> int:
    """Measure ours with the observer up and in each mode, interleaved; print latencies and what the log says."""
    ours = ALL[0]
    known = {*MODES, "dead"}
    if unknown := set(modes) - known:
        print(f"--observer: {', '.join(sorted(unknown))} isn't one of {', '.join(sorted(known))}")
        return 2
    modes = ["up", *(mode for mode in modes if mode != "up")]
    rounds: dict[str, list[Round]] = {mode: [] for mode in modes}
    for number in range(1, plan.rounds + 1):
        for mode in modes:
            try:
                with serving(ours, ours.python(), subject, directory, mode) as at:
                    one = measure_round(ours, subject, at, 1, plan)
                    log = read_log_counts(at[0])
            except CannotStart as error:
                print(f"not measured: observer {mode}: {error}")
                return 1
            rounds[mode].append(one)
            print(
                f"round {number} observer {mode:<6} {one.per_second:>9,.0f}/s p50 {one.p50_ms:6.2f} ms  "
                f"p99 {one.p99_ms:7.2f} ms  {one.memory_mib:5.0f} MiB  {one.bad} not 200  {log}",
                flush=True,
            )
    up = summarise(rounds["up"])
    for mode in modes:
        got = summarise(rounds[mode])
        print(
            f"observer {mode:<6} p99 {got.p99_ms:7.2f} ms ({got.p99_ms / up.p99_ms:.2f} times that with the observer up), "
            f"{got.per_second:,.0f}/s ({got.per_second / up.per_second:.2f} times), {got.bad} not 200"
        )
    return 0


def read_log_counts(port: int) -> str:
    """Return what the server counts of its log, without what is zero."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    kept = (
        line.removeprefix("perennial_server_") for line in lines if line.startswith("perennial_server_log_")
    )
    return "; ".join(line for line in kept if "_created" not in line and float(line.rsplit(" ", 1)[1]) != 0.0)
