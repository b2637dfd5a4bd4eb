"""Draw what the monitors say."""

from __future__ import annotations

from perennial_api.monitorreport import MonitorState, MonitorVerdict
from rich.markup import escape
from rich.tree import Tree

from perennial.cli.views.words import style_word

__all__ = ["add_monitors"]


def add_monitors(tree: Tree, monitors: tuple[MonitorVerdict, ...]) -> None:
    """Add every monitor with its figures; one that isn't well says why, and what is known of it."""
    if not monitors:
        return
    branch = tree.add("monitors")
    for monitor in monitors:
        figures = ""
        if monitor.statistic is not None:
            figures = f"  {monitor.statistic:.3g}"
            figures += f" (threshold {monitor.threshold:.3g})" if monitor.threshold is not None else ""
        text = f"{escape(monitor.name)}  {style_word(monitor.state.value)}{figures}"
        if monitor.state is not MonitorState.OK:
            text += f"  {escape(monitor.message)}"
        entry = branch.add(text.rstrip())
        if monitor.explanation:
            entry.add(escape(monitor.explanation))
