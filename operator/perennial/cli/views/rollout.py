"""Draw the rollout: its steps, the warm-up, and what the gate has seen."""

from __future__ import annotations

from datetime import datetime

from perennial_api import ModelDeployment
from perennial_api.modeldeployment.gate_status import Evidence, Gate
from perennial_api.modeldeployment.rollout import RolloutType, Step
from perennial_api.modeldeployment.status import RolloutStatus
from perennial_api.modeldeployment.warmup_status import WarmUp
from rich.markup import escape
from rich.tree import Tree

from perennial.cli.views.words import plain_table, say_ago, say_share, style_word

__all__ = ["add_gate", "add_rollout", "latest_warm_up", "say_evidence", "say_step", "say_warm_up"]


def add_rollout(tree: Tree, deployment: ModelDeployment, now: datetime) -> None:
    """Add the rollout, if the operator has begun to think about one."""
    rollout = deployment.status.rollout
    if rollout is None:
        return
    branch = tree.add(_headline(deployment, rollout, now))
    if rollout.canary and deployment.spec.rollout.type is RolloutType.CANARY:
        branch.add(_say_steps(deployment.spec.rollout.canary.steps, rollout.step_index))
    if rollout.held:
        branch.add("[yellow]held[/]  by the verb pause, until resume; a failing gate still rolls back")
    if rollout.pinned:
        branch.add(f"pinned  {escape(rollout.pinned)} by the verb undo, until spec.model changes")
    if rollout.preview:
        branch.add(f"preview  {escape(rollout.preview)}")
    if rollout.failed_revision:
        branch.add(
            f"[red]rolled back[/]  {escape(rollout.failed_revision)}: `kubectl perennial why` says why"
        )
    if (warm_up := latest_warm_up(rollout)) and warm_up.message not in rollout.message:
        branch.add(say_warm_up(warm_up))
    if rollout.gate and rollout.canary:
        add_gate(branch, rollout.gate)
    for evidence in rollout.evidence[-1:]:
        branch.add(say_evidence(evidence))


def _headline(deployment: ModelDeployment, rollout: RolloutStatus, now: datetime) -> str:
    text = "rollout"
    if rollout.canary:
        steps = len(deployment.spec.rollout.canary.steps)
        if deployment.spec.rollout.type is RolloutType.CANARY and steps:
            text += f"  step {min(rollout.step_index + 1, steps)} of {steps}"
        text += f"  {escape(rollout.step_state)} {say_ago(rollout.step_started_at, now)}".rstrip()
    return f"{text}  {escape(rollout.message)}".rstrip()


def _say_steps(steps: tuple[Step, ...], at: int) -> str:
    """Draw the road: what is past is dim, where it stands is bold."""
    words = []
    for place, step in enumerate(steps):
        style = "dim" if place < at else "bold" if place == at else ""
        words.append(f"[{style}]{say_step(step)}[/]" if style else say_step(step))
    if not steps or steps[-1].set_weight != 100:  # noqa: PLR2004 - percent
        words.append("[bold]100 %[/]" if at >= len(steps) else "100 %")
    return " → ".join(words)


def say_step(step: Step) -> str:
    """Say one step in a few characters."""
    if step.set_weight is not None:
        return f"{step.set_weight} %"
    if step.pause is not None:
        return f"pause {step.pause.duration}" if step.pause.duration else "pause until promoted"
    if step.analysis is not None:
        return f"analysis {step.analysis.duration}"
    return f"mirror {step.set_mirror.percent} % {step.set_mirror.duration}" if step.set_mirror else ""


def latest_warm_up(rollout: RolloutStatus | None) -> WarmUp | None:
    """Return the warm-up of the revision on trial, or of the one that failed; an older one is of no more interest."""
    if rollout is None or rollout.warm_up is None:
        return None
    return rollout.warm_up if rollout.warm_up.revision in (rollout.canary, rollout.failed_revision) else None


def say_warm_up(warm_up: WarmUp) -> str:
    """Say how fast a revision answered before it got any traffic."""
    colour = "red" if warm_up.within_budget is False else "default"
    return f"[{colour}]warm-up[/]  {escape(warm_up.message)}".rstrip()


def add_gate(tree: Tree, gate: Gate) -> None:
    """Add a table of what both revisions have shown of each metric."""
    if not gate.metrics:
        return
    unit = "clients" if gate.by_client else "requests"
    table = plain_table("metric", f"bad {unit}, new", "stable", "verdict", "why")
    for metric in gate.metrics:
        is_number = metric.value is not None or metric.readings > 0
        number = "" if metric.value is None else f"{metric.value:.4g}"
        table.add_row(
            escape(metric.name),
            number if is_number else say_share(metric.canary.bad, metric.canary.total),
            "" if is_number else say_share(metric.stable.bad, metric.stable.total),
            style_word(metric.decision.value),
            escape(metric.message),
        )
    tree.add("gate").add(table)


def say_evidence(evidence: Evidence) -> str:
    """Say what the gate decided last, with its figures."""
    text = f"decided  {escape(evidence.metric)} {style_word(evidence.decision.value)} ({escape(evidence.reason)})"
    if evidence.e_value is not None and evidence.bound is not None:
        text += f"  evidence {evidence.e_value:.3g}, fails at {evidence.bound:.3g}"
    return f"{text}  {escape(evidence.message)}".rstrip()
