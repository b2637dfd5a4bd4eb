"""The report: a table, the ratios against what we promise, and a chart, as text for the terminal and as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.serving.measuring import Figure
from benchmarks.serving.peers import Peer

Figures = Mapping[tuple[str, int], Figure]


@dataclass(frozen=True)
class Target:
    """A promise: our figure divided by a peer's is at least `want`, for requests of `n_rows` rows."""

    title: str
    theirs: str
    n_rows: int
    want: float

    def assess(self, figures: Figures) -> tuple[float, float] | None:
        """Return the ratio, and that of the CPU times for a request; None if one side wasn't measured."""
        ours, theirs = figures.get(("ours", self.n_rows)), figures.get((self.theirs, self.n_rows))
        if ours is None or theirs is None:
            return None
        return ours.per_second / theirs.per_second, theirs.cpu_us / ours.cpu_us


TARGETS = (
    Target("MLServer as it comes", "mlserver", 1, 5.0),
    Target("MLServer with batching turned on", "mlserver-batching", 1, 5.0),
    Target("FastAPI", "fastapi", 1, 3.0),
    Target("bare ASGI", "bare", 1, 0.7),
    Target("MLServer as it comes", "mlserver", 64, 4.0),
    Target("MLServer with batching turned on", "mlserver-batching", 64, 4.0),
    Target("Perennial with the log off", "ours-no-log", 1, 0.9),
    Target("Perennial with the log off", "ours-no-log", 64, 0.9),
)


def rows_text(n_rows: int) -> str:
    """Say how many rows."""
    return "1 row" if n_rows == 1 else f"{n_rows} rows"


def render_table(peers: Sequence[Peer], figures: Figures, n_rows: int) -> list[str]:
    """Write one size of request as a Markdown table, fastest first; ratios are ours to theirs."""
    lines = [
        "| server | requests/s | slowest to fastest round | p50 ms | p99 ms | server CPU us | memory MiB | client busy | Perennial is |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    ours = figures.get(("ours", n_rows))
    measured = [peer for peer in peers if (peer.name, n_rows) in figures]
    for peer in sorted(measured, key=lambda peer: -figures[peer.name, n_rows].per_second):
        one = figures[peer.name, n_rows]
        ratio = (
            ""
            if ours is None or peer.name == "ours"
            else f"{ours.per_second / one.per_second:.2f} times as fast"
        )
        bad = f" ({one.bad} not 200)" if one.bad else ""
        lines.append(
            f"| {peer.title} | {one.per_second:,.0f}{bad} | {one.lowest:,.0f} to {one.highest:,.0f} | {one.p50_ms:.2f} "
            f"| {one.p99_ms:.2f} | {one.cpu_us:,.0f} | {one.memory_mib:.0f} | {one.client_busy_share:.0%} | {ratio} |"
        )
    return lines


def render_targets(figures: Figures) -> list[str]:
    """Write each promise and whether it is kept."""
    lines = [
        "| Perennial against | rows | at least | measured | | by CPU time |",
        "|---|---:|---:|---:|---|---:|",
    ]
    for target in TARGETS:
        if (ratios := target.assess(figures)) is not None:
            got, by_cpu = ratios
            verdict = "kept" if got >= target.want else "**missed**"
            lines.append(
                f"| {target.title} | {target.n_rows} | {target.want:.1f} times | {got:.2f} times | {verdict} | {by_cpu:.2f} times |"
            )
    return lines


def align(lines: Iterable[str]) -> str:
    """Write a Markdown table for a terminal."""
    cells = [[cell.strip().replace("**", "") for cell in line.strip("|").split("|")] for line in lines]
    cells = [row for row in cells if not set("".join(row)) <= set("-:")]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def render_chart(peers: Sequence[Peer], figures: Figures, sizes: Sequence[int]) -> str:
    """Draw requests/s as bars, one block for each size of request, ours in the darker tone."""
    width, bar, gap, left, right = 760, 20, 6, 170, 110
    parts, y = [], 0
    for n_rows in sizes:
        measured = sorted(
            (peer for peer in peers if (peer.name, n_rows) in figures),
            key=lambda peer: -figures[peer.name, n_rows].per_second,
        )
        if not measured:
            continue
        y += 28
        parts.append(f'<text x="0" y="{y}" class="head">{rows_text(n_rows)} a request, requests/s</text>')
        y += 10
        top = max(figures[peer.name, n_rows].per_second for peer in measured) or 1
        for peer in measured:
            value = figures[peer.name, n_rows].per_second
            length = (width - left - right) * value / top
            tone = "ours" if peer.name.startswith("ours") else "peer"
            parts += [
                f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(peer.title)}</text>',
                f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar}" rx="2" class="{tone}"/>',
                f'<text x="{left + length + 6:.1f}" y="{y + 15}">{value:,.0f}</text>',
            ]
            y += bar + gap
    style = "text{font:13px system-ui,sans-serif;fill:#1f2933}.head{font-weight:600}.ours{fill:#1f6f50}.peer{fill:#a9b7c0}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 8}" width="{width}" height="{y + 8}" '
        f'role="img"><title>Requests per second by server</title><style>{style}</style>'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


@dataclass(frozen=True)
class Setting:
    """Under what the figures were taken, line by line, and what couldn't be measured."""

    facts: tuple[str, ...]
    missing: tuple[str, ...]


def render_report(
    peers: Sequence[Peer], figures: Figures, sizes: Sequence[int], setting: Setting, chart: str
) -> str:
    """Write the whole page."""
    lines = [
        "# Serving, measured",
        "",
        "Written by `make bench-serving`. All servers serve the same model on one core; the client, and the observer that",
        "takes our prediction log, have another. Perennial runs with its defaults: validation, metrics and log on.",
        "",
        *(f"- {fact}" for fact in setting.facts),
        *(f"- **Not measured:** {problem}" for problem in setting.missing),
        "",
        f"![Requests per second by server]({chart})",
        "",
        "## What is promised",
        "",
        *render_targets(figures),
    ]
    for n_rows in sizes:
        lines += [
            "",
            f"## {rows_text(n_rows).capitalize()} a request",
            "",
            *render_table(peers, figures, n_rows),
        ]
    return "\n".join(lines) + "\n"


def write(directory: Path, report: str, chart: str) -> None:
    """Write both files."""
    (directory / "serving.md").write_text(report, encoding="utf-8")
    (directory / "serving.svg").write_text(chart, encoding="utf-8")
