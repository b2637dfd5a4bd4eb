"""Draw why a revision was promoted or rolled back: what the gate saw, and what it made of it."""

from __future__ import annotations

from datetime import datetime

from perennial_api import ModelRevision
from perennial_api.modeldeployment.gate_status import Evidence, MetricCounts
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from perennial.cli.views.words import plain_table, say_ago, say_share, style_word

__all__ = ["render_why"]


def render_why(revision: ModelRevision, evidence: tuple[Evidence, ...], now: datetime) -> RenderableType:
    """Return what became of a revision, and the evidence for it.

    Parameters
    ----------
    evidence
        The revision's own, or what its rollout has gathered so far.
    """
    status = revision.status
    since = status.retired_time or status.stable_time or status.canary_time
    head = f"[bold]{escape(revision.metadata.name)}[/]  {style_word(status.role.value)} {say_ago(since, now)}".rstrip()
    words = f"{status.reason}: {status.message}" if status.message else status.reason
    lines: list[RenderableType] = [Text.from_markup(head)]
    if words:
        lines.append(Text(words))
    if not evidence:
        lines.append(Text(_say_nothing(revision)))
        return Group(*lines)
    table = plain_table(
        "metric", "step", "new: bad of all", "stable: bad of all", "evidence", "fails at", "decision", "reason",
        right=frozenset({"step", "evidence", "fails at"}),
    )  # fmt: skip
    for item in evidence:
        is_number = item.value is not None
        table.add_row(
            escape(item.metric),
            str(item.step_index + 1),
            f"{item.value:.4g}" if item.value is not None else _say_counts(item.canary),
            "" if is_number else _say_counts(item.stable),
            "" if item.e_value is None else f"{item.e_value:.3g}",
            "" if item.bound is None else f"{item.bound:.3g}",
            style_word(item.decision.value) + (" (dry run)" if item.dry_run else ""),
            escape(item.reason),
        )
    lines.append(table)
    lines += [Text(sentence) for sentence in dict.fromkeys(item.message for item in evidence if item.message)]
    return Group(*lines)


def _say_counts(counts: MetricCounts) -> str:
    """Say the share of the bad ones; a verb decides without having counted anything."""
    return say_share(counts.bad, counts.total) if counts.total else ""


def _say_nothing(revision: ModelRevision) -> str:
    if revision.spec.parent is None:
        return "No gate judged it: there was no stable revision to compare it with."
    if revision.status.canary_time is None:
        return "No gate has judged it: it has had no rollout."
    return "No gate has judged it yet."
