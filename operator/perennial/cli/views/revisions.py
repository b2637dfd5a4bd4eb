"""Draw the revisions of a deployment, with their shares and pods."""

from __future__ import annotations

from collections.abc import Sequence

from perennial_api.modelrevision import RevisionRole
from rich.markup import escape
from rich.tree import Tree

from perennial.cli.views.view import PodLine, View
from perennial.cli.views.words import created, plain_table, style_word

__all__ = ["add_revisions"]

_SHOWN_REVISIONS = 5


def add_revisions(tree: Tree, view: View) -> None:
    """Add the revisions that serve, and the newest of the others."""
    if not view.revisions:
        return
    rollout = view.deployment.status.rollout
    weights = {w.revision: w.weight_percent for w in rollout.weights} if rollout else {}
    pods = {pod.revision for pod in view.pods}
    table = plain_table(
        "revision", "role", "weight", "pods", "origin", "model", "why", right=frozenset({"weight"})
    )
    newest = sorted(view.revisions, key=created, reverse=True)
    serving = [r for r in newest if r.metadata.name in weights or r.metadata.name in pods]
    for revision in (serving + [r for r in newest if r not in serving])[
        : max(_SHOWN_REVISIONS, len(serving))
    ]:
        name = revision.metadata.name
        table.add_row(
            escape(name),
            style_word(revision.status.role.value),
            f"{weights[name]} %" if name in weights else "",
            _say_pods([pod for pod in view.pods if pod.revision == name]),
            revision.spec.origin.value,
            revision.spec.model.short_digest,
            escape(revision.status.message if revision.status.role is RevisionRole.FAILED else ""),
        )
    tree.add("revisions").add(table)


def _say_pods(pods: Sequence[PodLine]) -> str:
    """Say how many of the pods are ready, and what the others do."""
    if not pods:
        return ""
    ready = sum(pod.ready for pod in pods)
    others = sorted({pod.state for pod in pods if not pod.ready and pod.state != "Running"})
    restarts = sum(pod.restarts for pod in pods)
    text = f"{ready}/{len(pods)} ready"
    text += f", {', '.join(others)}" if others else ""
    text += f", {restarts} restarts" if restarts else ""
    return escape(text) if ready == len(pods) else f"[yellow]{escape(text)}[/]"
