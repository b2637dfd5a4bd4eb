"""Draw an experiment: its arms, their shares and what they have earned."""

from __future__ import annotations

from datetime import datetime

from perennial_api import ModelDeployment
from perennial_api.modeldeployment.experiment import ExperimentType
from perennial_api.modeldeployment.experiment_status import ArmStatus, ExperimentPhase
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from perennial.cli.views.words import plain_table, say_ago, say_share, style_word

__all__ = ["add_experiment"]


def add_experiment(tree: Tree, deployment: ModelDeployment, now: datetime) -> None:
    """Add the experiment, if one runs, waits or has ended."""
    status = deployment.status.experiment
    if status is None:
        return
    since = status.ended_at if status.phase is ExperimentPhase.ENDED else status.started_at
    text = f"experiment  {status.type.value} {style_word(status.phase.value)} {say_ago(since, now)}".rstrip()
    if status.winner:
        text += f"  winner [green]{escape(status.winner)}[/]"
    branch = tree.add(f"{text}  {escape(status.message)}".rstrip())
    if status.arms:
        branch.add(_TABLES[status.type](status.arms))


def _split_table(arms: tuple[ArmStatus, ...]) -> Table:
    table = plain_table(
        "arm", "revision", "weight", "state", "failures", "evidence", "why", right=frozenset({"weight"})
    )
    for arm in arms:
        table.add_row(
            *_head(arm),
            say_share(arm.counts.bad, arm.counts.total),
            "" if arm.e_value is None else f"{arm.e_value:.3g}",
            escape(arm.message),
        )
    return table


def _bandit_table(arms: tuple[ArmStatus, ...]) -> Table:
    table = plain_table(
        "arm", "revision", "weight", "state", "rewards", "best with", "why", right=frozenset({"weight"})
    )
    for arm in arms:
        total = arm.successes + arm.failures
        table.add_row(
            *_head(arm),
            f"{arm.successes:.0f} of {total:.0f}" if total else "none yet",
            "" if arm.probability_best is None else f"{arm.probability_best:.0%}",
            escape(arm.message),
        )
    return table


def _shadow_table(arms: tuple[ArmStatus, ...]) -> Table:
    table = plain_table("arm", "revision", "state", "pairs", "agree", "differ by", "why")
    for arm in arms:
        pairs = arm.shadow
        difference = pairs.mean_difference if pairs else None
        table.add_row(
            escape(arm.name),
            escape(arm.revision or ""),
            style_word(arm.state.value),
            str(pairs.pairs) if pairs else "",
            f"{pairs.agreement_rate:.2%}" if pairs and pairs.agreement_rate is not None else "",
            "" if difference is None else f"{difference:.4g} on average",
            escape(arm.message),
        )
    return table


def _head(arm: ArmStatus) -> tuple[str, str, str, str]:
    return (
        escape(arm.name),
        escape(arm.revision or ""),
        f"{arm.weight_percent} %",
        style_word(arm.state.value),
    )


_TABLES = {
    ExperimentType.AB_TEST: _split_table,
    ExperimentType.BANDIT: _bandit_table,
    ExperimentType.SHADOW: _shadow_table,
}
