"""Draw the latest retraining runs."""

from __future__ import annotations

from datetime import datetime

from rich.markup import escape
from rich.tree import Tree

from perennial.cli.views.view import View
from perennial.cli.views.words import created, say_ago, say_span, style_word

__all__ = ["add_runs"]

_SHOWN_RUNS = 3


def add_runs(tree: Tree, view: View, now: datetime) -> None:
    """Add the latest runs with their scores, and when the next may start."""
    retraining = view.deployment.status.retraining
    if not view.runs and not (retraining and retraining.next_allowed_at):
        return
    branch = tree.add("retraining")
    for run in sorted(view.runs, key=created, reverse=True)[:_SHOWN_RUNS]:
        text = f"{escape(run.metadata.name)}  {style_word(run.status.phase.value)}"
        text += f"  for {escape(run.spec.trigger.monitor)} {say_ago(run.status.start_time, now)}".rstrip()
        if run.status.message:
            text += f"  {escape(run.status.message)}"
        result = run.status.result
        if result and result.champion_score is not None and result.challenger_score is not None:
            text += f"  {result.metric}: champion {result.champion_score:.3f}, challenger {result.challenger_score:.3f}"
        branch.add(text)
    if retraining and retraining.next_allowed_at and retraining.next_allowed_at > now:
        branch.add(f"next run in {say_span(retraining.next_allowed_at - now)} at the earliest")
