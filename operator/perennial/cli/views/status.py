"""Draw a ModelDeployment and everything around it as a tree."""

from __future__ import annotations

from datetime import datetime

from perennial_api.conditions import Condition, ConditionStatus
from perennial_api.labels import ConditionType
from rich.markup import escape
from rich.tree import Tree

from perennial.cli.views.experiment import add_experiment
from perennial.cli.views.monitors import add_monitors
from perennial.cli.views.retraining import add_runs
from perennial.cli.views.revisions import add_revisions
from perennial.cli.views.rollout import add_rollout, latest_warm_up
from perennial.cli.views.view import View
from perennial.cli.views.words import say_ago, style_word

__all__ = ["render_status"]

# Conditions worth a line when they are not as they should be: what they are then, and how loud.
_WRONG_WHEN_FALSE = {
    ConditionType.READY: "not ready",
    ConditionType.ROUTE_READY: "route not ready",
    ConditionType.ANALYZABLE: "cannot be analysed",
    ConditionType.WITHIN_LATENCY_BUDGET: "over its latency budget",
    ConditionType.SCALING: "does not scale",
}
_WRONG_WHEN_TRUE = {
    ConditionType.INVALID_SPEC: "spec refused",
    ConditionType.NAME_TAKEN: "name taken",
    ConditionType.RETRAINING_BLOCKED: "retraining blocked",
}


def render_status(view: View, now: datetime) -> Tree:
    """Return the tree that `status` prints; what the operator has not said yet is left out."""
    metadata, status = view.deployment.metadata, view.deployment.status
    phase = status.rollout.phase.value if status.rollout else "Pending"
    tree = Tree(f"[bold]{escape(f'{metadata.namespace}/{metadata.name}')}[/]  {style_word(phase)}")
    if status.observed_generation and metadata.generation > status.observed_generation:
        tree.add("[yellow]the operator has not seen the latest edit of the spec yet[/]")
    if status.url:
        tree.add(f"url  {escape(status.url)}")
    for condition in status.conditions:
        # The rollout's own line says it, with the figures.
        is_told = condition.type == ConditionType.WITHIN_LATENCY_BUDGET and latest_warm_up(status.rollout)
        if not is_told and (words := _say_problem(condition)):
            tree.add(f"[red]{words}[/]  {escape(condition.reason)}: {escape(condition.message)}")
    if status.model_status and (failure := status.model_status.last_failure_info):
        tree.add(f"[red]last failure[/]  {failure.reason}: {escape(failure.message)}")
    add_rollout(tree, view.deployment, now)
    add_experiment(tree, view.deployment, now)
    add_revisions(tree, view)
    add_monitors(tree, status.monitors)
    add_runs(tree, view, now)
    if command := status.last_command:
        word = "done" if command.accepted else f"[yellow]refused[/] ({escape(command.reason)})"
        verb = command.verb.value if command.verb else "unreadable"
        text = f"last verb  {verb} {word} {say_ago(command.time, now)}".rstrip()
        tree.add(f"{text}  {escape(command.message)}".rstrip())
    return tree


def _say_problem(condition: Condition) -> str:
    table = _WRONG_WHEN_TRUE if condition.status is ConditionStatus.TRUE else _WRONG_WHEN_FALSE
    if condition.status is ConditionStatus.UNKNOWN and condition.type != ConditionType.READY:
        return ""
    return next((words for kind, words in table.items() if kind == condition.type), "")
