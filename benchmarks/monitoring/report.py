"""The tables of ``benchmarks/monitoring.md``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.monitoring.scoring import EQUAL_RATE, Figures
from benchmarks.monitoring.streams import FEATURES, REFERENCE_WINDOWS, SCENARIOS, WINDOW, WINDOWS

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
        "## Cost",
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
