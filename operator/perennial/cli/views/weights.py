"""Draw where the requests go, and which routers know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perennial_api import ModelRoute
from perennial_api.modeldeployment.status import RolloutStatus
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from perennial.cli.views.words import plain_table, style_word

__all__ = ["RouterLine", "render_weights"]


@dataclass(frozen=True, slots=True)
class RouterLine:
    """What one gateway pod has made of the route.

    Attributes
    ----------
    state
        Applied, Pending, Quarantined, or Unknown where its agent did not answer.
    generation
        metadata.generation of the ModelRoute that it has loaded.
    requests
        Requests answered by each revision since it started.
    """

    pod: str
    ready: bool
    state: str
    generation: int
    requests: dict[str, int]
    message: str = ""


def render_weights(
    route: ModelRoute, rollout: RolloutStatus | None, routers: Sequence[RouterLine] | None
) -> RenderableType:
    """Return a table of the shares, and one of the routers (None where the user may not ask them)."""
    applied = {w.revision: w for w in rollout.weights} if rollout else {}
    revisions = plain_table(
        "revision", "role", "routed", "applied", "also", right=frozenset({"routed", "applied"})
    )
    for revision in route.spec.revisions:
        known = applied.get(revision.name)
        revisions.add_row(
            escape(revision.name),
            style_word(known.role.value) if known else "",
            f"{revision.weight_percent} %",
            f"{known.weight_percent} %" if known else "",
            ", ".join(_others(route, revision.name)),
        )
    if routers is None:
        note = Text(
            "Routers aren't shown: that takes the rights list on pods and get on pods/proxy where Perennial is installed."
        )
        return Group(revisions, note)
    if not routers:
        return Group(revisions, Text("There is no gateway pod: nothing is routed.", style="red"))
    names = [revision.name for revision in route.spec.revisions]
    table = plain_table("router", "ready", "route", *(f"{name} answered" for name in names), "why")
    for router in routers:
        is_latest = router.state == "Applied" and router.generation >= route.metadata.generation
        state = style_word(router.state) if is_latest or router.state != "Applied" else "[yellow]older[/]"
        table.add_row(
            escape(router.pod),
            "yes" if router.ready else "[red]no[/]",
            f"{state} {router.generation} of {route.metadata.generation}",
            *(str(router.requests.get(name, 0)) for name in names),
            escape(router.message),
        )
    return Group(revisions, table)


def _others(route: ModelRoute, revision: str) -> list[str]:
    spec = route.spec
    words = []
    if spec.mirror and spec.mirror.revision == revision:
        words.append(f"gets copies of {spec.mirror.percent} %")
    if spec.preview == revision:
        words.append("preview")
    return words
