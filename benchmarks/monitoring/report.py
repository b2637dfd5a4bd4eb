"""The tables of ``benchmarks/monitoring.md``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.monitoring.scoring import EQUAL_RATE, Figures
from benchmarks.monitoring.streams import FEATURES, REFERENCE_WINDOWS, SCENARIOS, WINDOW, WINDOWS

# What people write about a run begins here, and stays when the page is written anew.
READING = "## Reading"
ASKED_RATE, FACTOR = 0.05, 2.0
ASKED_POWER = {"mean": 0.95, "mean-ar5": 0.75}
LARGEST_LAG = 0.05

INTRODUCTION = (
    f"Written by `make bench-monitoring`. {FEATURES} features, a reference of {REFERENCE_WINDOWS * WINDOW:,} rows, "
    f"{WINDOWS} windows of {WINDOW:,} rows; each as it comes, in its own environment, on the same seeded streams. Ours is "
    "asked for 50 false breaches in 1,000 windows, which is what 20 blocks of reference can promise."
)
POWER = (
    "Share of changed windows whose statistic is beyond what 5 % of the unchanged windows of the same kind exceed: how "
    "good the statistic is, whatever its threshold."
)


@dataclass(frozen=True)
class Row:
    """One contestant."""

    name: str
    figures: Mapping[str, Figures]
    window_ms: float


def render(rows: Sequence[Row], missing: Mapping[str, str]) -> str:
    """Write the page; `missing` are those that couldn't be had, with the reason."""
    quiet = [name for name, scenario in SCENARIOS.items() if scenario.change is None]
    moved = [name for name in SCENARIOS if name not in quiet]
    lines = [
        "# Monitors beside those of others",
        "",
        INTRODUCTION,
        "",
        "## False alarms in 1,000 windows",
        "",
        _head("", [SCENARIOS[name].title for name in quiet]),
        *(_line(row.name, [_per_thousand(row.figures.get(name)) for name in quiet]) for row in rows),
        "",
        f"## Power where all raise {EQUAL_RATE:.0%} false alarms",
        "",
        POWER,
        "",
        _head("", [SCENARIOS[name].title for name in moved]),
        *(
            _line(row.name, [_share(row.figures.get(name), "equal_rate_power") for name in moved])
            for row in rows
        ),
        "",
        "## As it comes: share of changed windows with an alarm, and windows until the first",
        "",
        _head("", [SCENARIOS[name].title for name in moved]),
        *(_line(row.name, [_found(row.figures.get(name)) for name in moved]) for row in rows),
        "",
        "## Ours against what was asked of it",
        "",
        *_checks(rows),
        "",
        "## Cost",
        "",
        "Time of the processor, in which the load beside it hardly counts; calibration and fitting are left out.",
        "",
        _head("", ["ms per window", "windows judged"]),
        *(
            _line(row.name, [f"{row.window_ms:,.1f}", f"{sum(f.windows for f in row.figures.values()):,}"])
            for row in rows
        ),
        "",
        *(f"{name} could not be had: {reason}" for name, reason in missing.items()),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _checks(rows: Sequence[Row]) -> list[str]:
    """Hold our default (the first row) against the rates and powers that were asked of it, and against the best peer."""
    ours, peers = rows[0], [row for row in rows if not row.name.startswith(rows[0].name.split()[0])]
    lines = [_head("", ["asked", "got", "holds"])]
    for name in ("iid", "ar5"):
        if name in ours.figures:
            rate = ours.figures[name].alarm_rate
            lines.append(
                _check(
                    f"false alarms in 1,000 windows: {SCENARIOS[name].title}",
                    f"{1000 * ASKED_RATE / FACTOR:.0f} to {1000 * ASKED_RATE * FACTOR:.0f}",
                    f"{1000 * rate:.0f}",
                    ASKED_RATE / FACTOR <= rate <= ASKED_RATE * FACTOR,
                )
            )
    for name, power in ASKED_POWER.items():
        if name in ours.figures:
            got = ours.figures[name].alarm_rate
            lines.append(_check(f"alarms: {SCENARIOS[name].title}", f"{power}", f"{got:.2f}", got >= power))
    for name, figures in ours.figures.items():
        best, by = max(
            ((row.figures[name].equal_rate_power or 0.0, row.name) for row in peers if name in row.figures),
            default=(0.0, ""),
        )
        mine = figures.equal_rate_power
        if mine is not None and by:
            lines.append(
                _check(
                    f"power at an equal rate: {SCENARIOS[name].title}",
                    f"{best - LARGEST_LAG:.2f} ({by}: {best:.2f})",
                    f"{mine:.2f}",
                    mine >= best - LARGEST_LAG,
                )
            )
    return lines


def _check(what: str, asked: str, got: str, holds: bool) -> str:
    return _line(what, [asked, got, "yes" if holds else "**no**"])


def _head(first: str, titles: Sequence[str]) -> str:
    return f"| {first} | " + " | ".join(titles) + " |\n|---|" + "---:|" * len(titles)


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _per_thousand(figures: Figures | None) -> str:
    return "-" if figures is None else f"{1000 * figures.alarm_rate:.0f}"


def _share(figures: Figures | None, field: str) -> str:
    value = None if figures is None else getattr(figures, field)
    return "-" if value is None else f"{value:.2f}"


def _found(figures: Figures | None) -> str:
    if figures is None:
        return "-"
    delay = "never" if figures.delay is None else f"{figures.delay:g}"
    return f"{figures.alarm_rate:.2f} ({delay})"
