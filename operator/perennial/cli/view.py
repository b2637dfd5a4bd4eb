"""Draw a ModelDeployment, its revisions and its retraining as a tree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from perennial_api import ModelDeployment, ModelRevision, RetrainingRun
from perennial_api.modeldeployment.gate_status import Evidence
from perennial_api.modeldeployment.status import RolloutStatus
from perennial_api.modelrevision import RevisionRole
from perennial_api.monitorreport import MonitorState, MonitorVerdict
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

_PHASE_STYLE = {"Healthy": "green", "Progressing": "cyan", "Paused": "yellow", "Degraded": "red"}
_ROLE_STYLE = {"Stable": "green", "Canary": "cyan", "Candidate": "cyan", "Retired": "dim", "Failed": "red"}
_STATE_STYLE = {"Ok": "green", "Warning": "yellow", "Alarm": "red", "Insufficient": "dim", "Error": "red"}
_RUN_STYLE = {"Accepted": "green", "Refused": "yellow", "Failed": "red"}
_SHOWN_REVISIONS = 5
_SHOWN_RUNS = 3


@dataclass(frozen=True, slots=True)
class View:
    """All that `status` shows of one deployment."""

    deployment: ModelDeployment
    revisions: tuple[ModelRevision, ...] = ()
    runs: tuple[RetrainingRun, ...] = ()


def render_status(view: View, now: datetime) -> Tree:
    """Return the tree that `status` prints; what the operator has not said yet is left out."""
    metadata, status = view.deployment.metadata, view.deployment.status
    rollout = status.rollout
    phase = rollout.phase.value if rollout else "Pending"
    tree = Tree(f"[bold]{escape(f'{metadata.namespace}/{metadata.name}')}[/]  {_styled(phase, _PHASE_STYLE)}")
    if status.url:
        tree.add(f"url  {escape(status.url)}")
    for condition in status.conditions:
        if condition.type == "Ready" and condition.status != "True":
            tree.add(f"[red]not ready[/]  {escape(condition.reason)}: {escape(condition.message)}")
    if status.model_status and (failure := status.model_status.last_failure_info):
        tree.add(f"[red]last failure[/]  {failure.reason}: {escape(failure.message)}")
    if rollout:
        _add_rollout(tree, view.deployment, rollout, now)
    _add_revisions(tree, view)
    _add_monitors(tree, status.monitors)
    _add_runs(tree, view, now)
    return tree


def _add_rollout(tree: Tree, deployment: ModelDeployment, rollout: RolloutStatus, now: datetime) -> None:
    steps = len(deployment.spec.rollout.canary.steps)
    text = "rollout"
    if rollout.canary:
        step = min(rollout.step_index + 1, steps)
        text += f"  step {step} of {steps} {escape(rollout.step_state)} {_ago(rollout.step_started_at, now)}"
    if rollout.message:
        text += f"  {escape(rollout.message)}"
    branch = tree.add(text)
    for metric in rollout.gate.metrics if rollout.gate else ():
        for arm, counts in (("canary", metric.canary), ("stable", metric.stable)):
            branch.add(f"{escape(metric.name)} {arm}  {_share(counts.bad, counts.total)}")
    for evidence in rollout.evidence[-1:]:
        branch.add(_evidence(evidence))


def _evidence(evidence: Evidence) -> str:
    text = f"gate {escape(evidence.metric)}  {evidence.decision.value} ({escape(evidence.reason)})"
    if evidence.e_value is not None and evidence.bound is not None:
        text += f"  evidence {evidence.e_value:.3g}, fails at {evidence.bound:.3g}"
    return f"{text}  {escape(evidence.message)}".rstrip()


def _add_revisions(tree: Tree, view: View) -> None:
    rollout = view.deployment.status.rollout
    weights = {w.revision: w.weight_percent for w in rollout.weights} if rollout else {}
    if not view.revisions:
        return
    table = Table(box=None, show_header=True, header_style="dim", pad_edge=False)
    for column in ("revision", "role", "weight", "origin", "model", "why"):
        table.add_column(column, justify="right" if column == "weight" else "left")
    newest = sorted(view.revisions, key=_created, reverse=True)
    serving = [r for r in newest if r.metadata.name in weights]
    for revision in (serving + [r for r in newest if r not in serving])[:_SHOWN_REVISIONS]:
        name = revision.metadata.name
        table.add_row(
            escape(name),
            _styled(revision.status.role.value, _ROLE_STYLE),
            f"{weights[name]} %" if name in weights else "",
            revision.spec.origin.value,
            revision.spec.model.short_digest,
            escape(revision.status.message if revision.status.role is RevisionRole.FAILED else ""),
        )
    tree.add("revisions").add(table)


def _add_monitors(tree: Tree, monitors: tuple[MonitorVerdict, ...]) -> None:
    if not monitors:
        return
    branch = tree.add("monitors")
    for monitor in monitors:
        figures = ""
        if monitor.statistic is not None:
            figures = f"  {monitor.statistic:.3g}"
            figures += f" (threshold {monitor.threshold:.3g})" if monitor.threshold is not None else ""
        text = f"{escape(monitor.name)}  {_styled(monitor.state.value, _STATE_STYLE)}{figures}"
        if monitor.state is not MonitorState.OK:
            text += f"  {escape(monitor.message)}"
        branch.add(text.rstrip())


def _add_runs(tree: Tree, view: View, now: datetime) -> None:
    retraining = view.deployment.status.retraining
    if not view.runs and not (retraining and retraining.next_allowed_at):
        return
    branch = tree.add("retraining")
    for run in sorted(view.runs, key=_created, reverse=True)[:_SHOWN_RUNS]:
        text = f"{escape(run.metadata.name)}  {_styled(run.status.phase.value, _RUN_STYLE)}"
        text += f"  for {escape(run.spec.trigger.monitor)} {_ago(run.status.start_time, now)}".rstrip()
        if run.status.message:
            text += f"  {escape(run.status.message)}"
        result = run.status.result
        if result and result.champion_score is not None and result.challenger_score is not None:
            text += f"  {result.metric}: champion {result.champion_score:.3f}, challenger {result.challenger_score:.3f}"
        branch.add(text)
    if retraining and retraining.next_allowed_at and retraining.next_allowed_at > now:
        branch.add(f"next run in {_duration(retraining.next_allowed_at - now)} at the earliest")


def _created(resource: ModelRevision | RetrainingRun) -> datetime:
    return resource.metadata.creation_timestamp or datetime.min.replace(tzinfo=UTC)


def _styled(text: str, styles: dict[str, str]) -> str:
    style = styles.get(text)
    return f"[{style}]{text}[/]" if style else text


def _share(errors: int, requests: int) -> str:
    if not requests:
        return "no requests"
    return f"{errors} of {requests} failed ({errors / requests:.2%})"


def _ago(moment: datetime | None, now: datetime) -> str:
    return f"{_duration(now - moment)} ago" if moment else ""


def _duration(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
