"""The live terminal view: all that a person wants to see at one glance."""

from dataclasses import dataclass
from datetime import UTC, datetime

from perennial_api.modeldeployment.status import RolloutStatus
from perennial_api.monitorreport import MonitorState, MonitorVerdict
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from perennial_demo.auc import AucPair
from perennial_demo.cluster import Snapshot
from perennial_demo.report import revision_note
from perennial_demo.story import Chapter, Story, rollout_of, verdicts_of
from perennial_demo.traffic import Ledger

STATE_STYLE = {
    MonitorState.OK: "green",
    MonitorState.WARNING: "yellow",
    MonitorState.ALARM: "bold red",
    MonitorState.INSUFFICIENT: "dim",
    MonitorState.ERROR: "magenta",
}
CHAPTERS = [chapter for chapter in Chapter if chapter is not Chapter.END]


@dataclass(frozen=True)
class Scene:
    """Everything that one picture shows."""

    story: Story
    seen: Snapshot
    ledger: Ledger
    event_s: float
    requests_per_s: float
    is_held: bool
    rolling: AucPair | None
    since_promotion: AucPair | None


def render_scene(scene: Scene) -> RenderableType:
    """Draw the whole view."""
    return Group(
        _headline(scene),
        Panel(_revisions(scene), title="revisions", title_align="left"),
        Panel(_monitors(verdicts_of(scene.seen)), title="monitors", title_align="left"),
        Panel(_retraining(scene), title="retraining", title_align="left"),
        Panel(_gate(rollout_of(scene.seen)), title="rollout and gate", title_align="left"),
        Panel(_auc(scene), title="AUC on the labels that came back", title_align="left"),
    )


def render_line(scene: Scene) -> str:
    """One plain line for a terminal that isn't one."""
    rollout = rollout_of(scene.seen)
    weights = ", ".join(f"{w.revision} {w.weight_percent} %" for w in rollout.weights) if rollout else ""
    monitors = ", ".join(f"{v.name} {v.state.value} {_number(v.statistic)}" for v in verdicts_of(scene.seen))
    run = f"run {scene.story.run.status.phase.value}" if scene.story.run else "no run"
    auc = f"AUC {scene.rolling.served:.3f}/{scene.rolling.never_retrained:.3f}" if scene.rolling else "AUC -"
    failed = sum(scene.ledger.failed.values())
    return (
        f"{_moment(scene.event_s)} {scene.story.chapter.name.lower()}: {scene.ledger.total} requests, {failed} failed; "
        f"{weights}; {monitors}; {run}; {auc}"
    )


def _headline(scene: Scene) -> Text:
    text = Text.assemble(
        ("Perennial  ", "bold"),
        (_moment(scene.event_s), "cyan"),
        f"  {scene.requests_per_s:.0f} requests/s",
        ("  (clock held until the observer has caught up)" if scene.is_held else "", "dim"),
        "\n",
    )
    here = CHAPTERS.index(scene.story.chapter) if scene.story.chapter in CHAPTERS else len(CHAPTERS)
    for position, chapter in enumerate(CHAPTERS):
        style = "green" if position < here else "bold yellow" if position == here else "dim"
        text.append(
            f"{'✓' if position < here else '▶' if position == here else '·'} {chapter.value}\n", style
        )
    return text


def _revisions(scene: Scene) -> Table:
    table = Table(box=None, expand=True)
    for name in ("revision", "", "weight", "requests", "failed"):
        table.add_column(name, justify="right" if name in {"weight", "requests", "failed"} else "left")
    rollout = rollout_of(scene.seen)
    weights = {w.revision: w.weight_percent for w in rollout.weights} if rollout else {}
    for revision in sorted(scene.seen.revisions, key=lambda r: str(r.metadata.creation_timestamp)):
        name = revision.metadata.name
        failed = scene.ledger.failed[name]
        table.add_row(
            name,
            revision_note(revision),
            f"{weights.get(name, 0)} %",
            f"{scene.ledger.requests[name]:,}",
            Text(f"{failed:,}", "red" if failed else ""),
        )
    return table


def _monitors(verdicts: tuple[MonitorVerdict, ...]) -> Table:
    table = Table(box=None, expand=True)
    for name in ("monitor", "state", "value", "threshold", "samples", "features, message"):
        table.add_column(name, justify="right" if name in {"value", "threshold", "samples"} else "left")
    for verdict in verdicts:
        moved = ", ".join(f"{f.name} {f.statistic:.2f}" for f in verdict.features[:3])
        table.add_row(
            verdict.name,
            Text(verdict.state.value, STATE_STYLE[verdict.state]),
            _number(verdict.statistic),
            _number(verdict.threshold),
            "" if verdict.window_samples is None else f"{verdict.window_samples:,}",
            Text(moved or verdict.message, overflow="ellipsis", no_wrap=True),
        )
    return table


def _retraining(scene: Scene) -> Text:
    run = scene.story.run
    if run is None:
        return Text("none yet; lost performance starts one", "dim")
    text = Text(f"{run.metadata.name}  {run.status.phase.value}  by {run.spec.trigger.breach_id}\n")
    result = run.status.result
    if result is not None and result.train_rows is not None:
        text.append(
            f"trained on {result.train_rows:,} flights worth {result.effective_samples or 0:,.0f}, "
            f"tested on {result.test_rows or 0:,}\n"
        )
    text.append(result.message if result is not None else run.status.message)
    return text


def _gate(rollout: RolloutStatus | None) -> Text:
    if rollout is None:
        return Text("waiting for the operator", "dim")
    text = Text(f"{rollout.phase.value}  step {rollout.step_index} {rollout.step_state}  {rollout.message}\n")
    if rollout.canary is not None and rollout.gate is not None:
        gate = rollout.gate
        text.append(
            f"canary {gate.canary.errors} of {gate.canary.requests} failed, "
            f"stable {gate.stable.errors} of {gate.stable.requests}\n"
        )
    for evidence in rollout.evidence[-2:]:
        against = (
            ""
            if evidence.e_value is None
            else f"  e-value {evidence.e_value:.3g} of {evidence.bound or 0:.3g}"
        )
        style = {"Successful": "green", "Failed": "red"}.get(evidence.decision.value, "yellow")
        text.append(f"{evidence.metric} {evidence.decision.value} {evidence.reason}{against}\n", style)
    return text


def _auc(scene: Scene) -> Table:
    table = Table(box=None)
    for name in ("", "served", "never retrained", "gain", "flights"):
        table.add_column(name, justify="right" if name else "left")
    for title, pair in (("last 14 days", scene.rolling), ("since the promotion", scene.since_promotion)):
        if pair is None:
            table.add_row(title, "-", "-", "-", "-")
        else:
            gain = Text(f"{pair.gain:+.3f}", "green" if pair.gain > 0 else "")
            table.add_row(title, f"{pair.served:.3f}", f"{pair.never_retrained:.3f}", gain, f"{pair.rows:,}")
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _moment(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%a %d %b %Y %H:00")
