"""Draw the list of ModelDeployments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from perennial_api import ModelDeployment
from perennial_api.conditions import ConditionStatus
from perennial_api.labels import ConditionType
from rich.markup import escape
from rich.table import Table

from perennial.cli.views.words import plain_table, say_span, style_word

__all__ = ["render_deployments"]


def render_deployments(deployments: Sequence[ModelDeployment], now: datetime) -> Table:
    """Return one line for each deployment, by namespace and name."""
    table = plain_table(
        "namespace", "name", "ready", "phase", "stable", "canary", "weight", "experiment", "monitors", "age",
        right=frozenset({"weight", "age"}),
    )  # fmt: skip
    for deployment in sorted(deployments, key=lambda d: (d.metadata.namespace, d.metadata.name)):
        metadata, status = deployment.metadata, deployment.status
        rollout, experiment = status.rollout, status.experiment
        weight = rollout.canary_weight_percent if rollout else None
        table.add_row(
            escape(metadata.namespace),
            escape(metadata.name),
            _say_ready(deployment),
            style_word(rollout.phase.value if rollout else "Pending"),
            escape((rollout and rollout.stable) or ""),
            escape((rollout and rollout.canary) or ""),
            "" if weight is None else f"{weight} %",
            f"{experiment.type.value} {style_word(experiment.phase.value)}" if experiment else "",
            escape(status.monitors_summary or ""),
            say_span(now - metadata.creation_timestamp) if metadata.creation_timestamp else "",
        )
    return table


def _say_ready(deployment: ModelDeployment) -> str:
    found = next((c for c in deployment.status.conditions if c.type == ConditionType.READY), None)
    if found is None:
        return ""
    return "[green]True[/]" if found.status is ConditionStatus.TRUE else f"[red]{found.status.value}[/]"
