"""How often and how soon rollouts are stopped: our gate beside a peeked z-test and a fixed threshold.

`python -m benchmarks.gates` prints the table, `--write` puts it into docs/gates.md.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.gate_simulation import (
    REQUESTS,
    Counts,
    Crowd,
    Floats,
    Limits,
    Looks,
    Traffic,
    draw,
    draw_clients,
    draw_sticky_requests,
    gate_stops_s,
    plan_looks,
    promoted,
    threshold_stops_s,
    z_test_stops_s,
)

PAGE = Path(__file__).resolve().parents[1] / "docs" / "gates.md"
BEGIN, END = "<!-- table of benchmarks/gates.py: begin -->\n", "<!-- table of benchmarks/gates.py: end -->\n"
ROLLOUTS = 2000
SEED = 4
HOUR = plan_looks()
STEADY = plan_looks((0.5,), 3600.0)
HEAD = (
    "| what is true | our gate stops | others: z-test at 1 %, peeked | others: 95 % must succeed, three failures | promoted by our gate |\n"
    "|---|---|---|---|---|\n"
)


@dataclass(frozen=True)
class Scenario:
    """One row: what is true, and what the gate and the others count of it."""

    title: str
    traffic: Traffic | Crowd
    clients: bool = False


SCENARIOS = (
    Scenario("**equal**, 1 % fail, 2 requests/s", Traffic(2.0, 0.01, 0.01)),
    Scenario("**equal**, 1 % fail, 20 requests/s", Traffic(20.0, 0.01, 0.01)),
    Scenario("**equal**, in bursts, with common outages", Traffic(20.0, 0.01, 0.01, bursty=True)),
    Scenario("**equal**, 30 % fail", Traffic(20.0, 0.30, 0.30)),
    Scenario("**equal**, sticky, 5 % of clients fail 20 %", Crowd(), clients=True),
    Scenario("**equal**, the same on two routers", Crowd(routers=2), clients=True),
    Scenario("**equal**, the same, had requests been counted", Crowd()),
    Scenario("2 % against 1 %, 2 requests/s", Traffic(2.0, 0.02, 0.01)),
    Scenario("2 % against 1 %, 20 requests/s", Traffic(20.0, 0.02, 0.01)),
    Scenario("3 % against 1 %, 20 requests/s", Traffic(20.0, 0.03, 0.01)),
    Scenario("10 % against 1 %, 2 requests/s", Traffic(2.0, 0.10, 0.01)),
    Scenario("30 % against 1 %, 20 requests/s", Traffic(20.0, 0.30, 0.01)),
    Scenario("100 % against 1 %, 20 requests/s", Traffic(20.0, 1.0, 0.01)),
    Scenario("sticky, 20 % of clients fail against 5 %", Crowd(canary_failing_clients=0.2), clients=True),
)


def render_row(scenario: Scenario) -> str:
    """Simulate one scenario and return its row of the table."""
    gate_counts, other_counts, looks, limits = _draw(scenario)
    stops_s = gate_stops_s(gate_counts, looks, limits)
    cells = [
        scenario.title,
        _describe(stops_s),
        *(_describe(stop(other_counts, looks)) for stop in _OTHERS),
        f"{promoted(gate_counts, stops_s).mean():.1%}".replace("%", " %"),
    ]
    return f"| {' | '.join(cells)} |\n"


_OTHERS: tuple[Callable[[Counts, Looks], Floats], ...] = (z_test_stops_s, threshold_stops_s)


def _draw(scenario: Scenario) -> tuple[Counts, Counts, Looks, Limits]:
    rng = np.random.default_rng(SEED)
    traffic = scenario.traffic
    if isinstance(traffic, Traffic):
        counts = draw(traffic, HOUR, ROLLOUTS, rng)
        return counts, counts, HOUR, REQUESTS
    requests = draw_sticky_requests(traffic, STEADY, ROLLOUTS, rng)
    if not scenario.clients:
        return requests, requests, STEADY, REQUESTS
    clients = draw_clients(traffic, STEADY, ROLLOUTS, rng)
    return clients, requests, STEADY, Limits(clients=True, routers=traffic.routers)


def _describe(stops_s: Floats) -> str:
    """Return how many were stopped and after how long: the median of those, and what 95 % of all kept."""
    stopped = np.isfinite(stops_s)
    if not stopped.any():
        return "0 %"
    text = f"{stopped.mean():.1%}".replace("%", " %")
    if stopped.mean() < 0.5:
        return text
    text += f", median {np.median(stops_s[stopped]):.0f} s"
    late_s = np.quantile(stops_s, 0.95, method="higher")
    return f"{text}, 95 % in {late_s:.0f} s" if np.isfinite(late_s) else text


def render_table() -> str:
    """Return the whole table."""
    return HEAD + "".join(render_row(scenario) for scenario in SCENARIOS)


def main() -> None:
    """Print the table or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="put the table into docs/gates.md")
    table = render_table()
    if not parser.parse_args().write:
        print(table, end="")
        return
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + table + END + after)


if __name__ == "__main__":
    main()
