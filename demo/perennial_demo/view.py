"""What the person at the keyboard sees while the demo runs: one live view, or plain lines where there is no terminal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from perennial_demo.clients import Tally

_STATE_STYLE = {
    "Ok": "green",
    "Warning": "yellow",
    "Alarm": "bold red",
    "Insufficient": "dim",
    "Error": "red",
}


@dataclass(frozen=True)
class Seen:
    """One look at the cluster."""

    deployment: dict[str, Any]
    monitors: list[dict[str, Any]]
    runs: list[dict[str, Any]]

    @property
    def rollout(self) -> dict[str, Any]:
        """`status.rollout`, empty before there is one."""
        rollout: dict[str, Any] = self.deployment.get("status", {}).get("rollout", {})
        return rollout


def render(headline: str, seen: Seen, tally: Tally) -> Group:
    """Return the live view."""
    clock = datetime.fromtimestamp(tally.clock_s, UTC).strftime("%d %b %Y %H:%M")
    title = f"{headline}\nevent time {clock}   labels back {tally.labels_sent:,}"
    auc = tally.auc.compute()
    if auc:
        title += f"   AUC served {auc[0]:.3f}, never retrained {auc[1]:.3f}"
    return Group(
        Panel(Text(title)),
        _build_revisions(seen, tally),
        _build_monitors(seen),
        _build_runs(seen),
        _build_gate(seen),
    )


def _build_revisions(seen: Seen, tally: Tally) -> Table:
    table = Table(
        "REVISION",
        "ROLE",
        "WEIGHT",
        "REQUESTS",
        "ERRORS",
        title="revisions",
        title_justify="left",
        expand=True,
    )
    weights = {row["revision"]: row for row in seen.rollout.get("weights", [])}
    requests: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for (revision, code), count in tally.answers.items():
        requests[revision] += count
        errors[revision] += count if code == 0 or code >= 500 else 0  # noqa: PLR2004
    for name in sorted({*weights, *requests} - {""}):
        row = weights.get(name, {})
        weight = f"{row['weightPercent']} %" if row else "-"
        table.add_row(name, row.get("role", "retired"), weight, f"{requests[name]:,}", f"{errors[name]:,}")
    return table


def _build_monitors(seen: Seen) -> Table:
    table = Table(
        "MONITOR",
        "STATE",
        "STATISTIC",
        "THRESHOLD",
        "MOVED MOST",
        title="monitors",
        title_justify="left",
        expand=True,
    )
    for row in seen.monitors:
        moved = ", ".join(f["name"] for f in row.get("features", [])[:3])
        state = Text(row["state"], style=_STATE_STYLE.get(row["state"], ""))
        table.add_row(row["name"], state, _number(row.get("statistic")), _number(row.get("threshold")), moved)
    return table


def _build_runs(seen: Seen) -> Table:
    table = Table("RETRAINING", "PHASE", "WHY", title="retraining", title_justify="left", expand=True)
    for run in seen.runs:
        status = run.get("status", {})
        table.add_row(run["metadata"]["name"], status.get("phase", "Pending"), status.get("message", ""))
    return table


def _build_gate(seen: Seen) -> Text:
    rollout = seen.rollout
    text = (
        f"rollout {rollout.get('phase', '-')}  {rollout.get('stepState', '')}  {rollout.get('message', '')}"
    )
    for row in rollout.get("evidence", [])[-1:]:
        text += f"\ngate {row['decision']} {row['reason']}: {row.get('message', '')}"
    return Text(text)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
