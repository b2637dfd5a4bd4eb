"""What the demo may call a success, and the report of it. Pure."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import sqrt
from typing import Any

from perennial_api.modeldeployment.status import Evidence, GateDecision
from perennial_api.modelrevision import ModelRevision, RevisionRole
from perennial_api.retrainingrun import RetrainingPhase

from perennial_demo.auc import AucPair
from perennial_demo.story import Story
from perennial_demo.traffic import Ledger

# A share of random requests strays; beyond so many standard deviations it isn't chance.
STANDARD_DEVIATIONS = 4.0


@dataclass(frozen=True)
class Check:
    """One thing that had to happen."""

    name: str
    passed: bool
    message: str


@dataclass(frozen=True)
class BadSpell:
    """Requests that clients sent while the bad version was on trial, and those of them that it got."""

    requests: int
    of_bad: int


def assess(story: Story, ledger: Ledger, spell: BadSpell) -> tuple[Check, ...]:
    """Check what the demo promises; it is a success if all pass.

    Parameters
    ----------
    story
        What the cluster did.
    ledger
        What clients saw.
    spell
        The traffic of the bad version's rollout.
    """
    return (
        _drift_detected(story),
        _retraining_ran(story),
        _promoted_by_gates(story),
        _bad_rolled_back(story),
        _only_bad_failed(story, ledger, spell),
    )


def _drift_detected(story: Story) -> Check:
    drift = story.drift
    return Check(
        "drift detected", drift is not None, drift.message if drift else "no drift monitor raised an alarm"
    )


def _retraining_ran(story: Story) -> Check:
    run = story.run
    if run is None:
        return Check("retraining ran", False, "no alarm started a run")
    text = f"{run.metadata.name}: {run.status.phase.value}"
    if run.status.result is not None:
        text += f", {run.status.result.message}"
    return Check("retraining ran", run.status.phase is RetrainingPhase.ACCEPTED, text)


def _promoted_by_gates(story: Story) -> Check:
    candidate = story.candidate
    if candidate is None or story.promoted_event_s is None:
        return Check("candidate promoted by its gates", False, "no candidate became the stable revision")
    passed = [e for e in candidate.status.evidence if e.decision is GateDecision.SUCCESSFUL]
    return Check(
        "candidate promoted by its gates",
        bool(passed),
        f"{candidate.metadata.name}: {_counts(passed[-1])}"
        if passed
        else "promoted without evidence of its gate",
    )


def _bad_rolled_back(story: Story) -> Check:
    bad = story.bad
    if bad is None:
        return Check("bad version rolled back", False, "it was never rolled out")
    text = f"{bad.metadata.name}: {bad.status.role.value}"
    if bad.status.role is RevisionRole.FAILED:
        text += f" at {story.bad_weight_percent} % of the traffic: {bad.status.message}"
    return Check("bad version rolled back", bad.status.role is RevisionRole.FAILED, text)


def _only_bad_failed(story: Story, ledger: Ledger, spell: BadSpell) -> Check:
    name = "no other request failed"
    bad = story.bad.metadata.name if story.bad is not None else None
    others = {revision or "no answer": n for revision, n in ledger.failed.items() if revision != bad and n}
    if others:
        first = next(f for f in ledger.failures if f.revision != bad)
        return Check(name, False, f"{others} failed, first with {first.status}: {first.text}")
    if ledger.feedback_failures:
        return Check(name, False, f"{ledger.feedback_failures} calls with feedback failed")
    allowed = story.bad_weight_percent / 100
    most = spell.requests * allowed + STANDARD_DEVIATIONS * sqrt(spell.requests * allowed * (1 - allowed)) + 1
    failed = ledger.failed[bad] if bad is not None else 0
    text = f"{ledger.total:,} requests; {failed} failed, all on the bad version, which got {spell.of_bad} of {spell.requests}"
    return Check(name, spell.of_bad <= most, text + f" at {story.bad_weight_percent} %")


def _counts(evidence: Evidence) -> str:
    canary, stable = evidence.canary, evidence.stable
    return (
        f"{evidence.reason}, {canary.errors} of {canary.requests} requests failed on it, "
        f"{stable.errors} of {stable.requests} on the stable one"
    )


@dataclass(frozen=True)
class Report:
    """The demo in figures."""

    checks: tuple[Check, ...]
    failure: str | None
    seconds: float
    replayed_from: str
    replayed_until: str
    requests: dict[str, int]
    failed: dict[str, int]
    rows: int
    labels: int
    retraining: dict[str, Any] | None
    auc_since_promotion: dict[str, float] | None
    auc_by_month: tuple[dict[str, Any], ...]

    @property
    def passed(self) -> bool:
        """Whether the demo kept all its promises."""
        return self.failure is None and all(check.passed for check in self.checks)

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps({"passed": self.passed, **asdict(self)}, indent=2) + "\n"


def build_report(
    story: Story,
    ledger: Ledger,
    spell: BadSpell,
    *,
    seconds: float,
    from_s: float,
    until_s: float,
    since_promotion: AucPair | None,
    months: list[tuple[str, AucPair]],
) -> Report:
    """Put all figures together; times are epoch seconds of event time, `seconds` wall time."""
    result = story.run.status.result if story.run is not None else None
    return Report(
        checks=assess(story, ledger, spell),
        failure=story.failure,
        seconds=round(seconds, 1),
        replayed_from=day(from_s),
        replayed_until=day(until_s),
        requests=dict(ledger.requests),
        failed=dict(ledger.failed),
        rows=ledger.rows,
        labels=ledger.labels_sent,
        retraining=result.to_api() if result is not None else None,
        auc_since_promotion=_pair(since_promotion) if since_promotion is not None else None,
        auc_by_month=tuple({"month": name, **_pair(pair)} for name, pair in months),
    )


def render_text(report: Report) -> str:
    """The report for people."""
    lines = ["", f"Replayed {report.replayed_from} to {report.replayed_until} in {report.seconds:.0f} s:"]
    lines.append(
        f"  {sum(report.requests.values()):,} requests, {report.rows:,} flights, {report.labels:,} labels"
    )
    lines.append("")
    lines += [f"  [{'ok' if c.passed else 'NO'}] {c.name}: {c.message}" for c in report.checks]
    lines += ["", "  AUC         served   never retrained   flights"]
    lines += [
        f"  {m['month']}   {m['served']:.3f}             {m['never_retrained']:.3f}   {m['rows']:>7,}"
        for m in report.auc_by_month
    ]
    if (pair := report.auc_since_promotion) is not None:
        lines.append(
            f"  retrained {pair['served']:.3f}             {pair['never_retrained']:.3f}   {pair['rows']:>7,}"
        )
    if report.failure is not None:
        lines += ["", f"  The demo ended early: {report.failure}"]
    return "\n".join(lines)


def render_next_commands(namespace: str, name: str) -> str:
    """What to try on the cluster that is left up."""
    return "\n".join(
        [
            "",
            "The cluster stays up. Look around:",
            '  eval "$(.venv/bin/perennial-localcluster env)"',
            f"  kubectl get mdep,modelrevisions,retrainingruns,monitorreports -n {namespace}",
            f"  kubectl perennial status {name} -n {namespace}",
            f"  kubectl describe mdep {name} -n {namespace}",
            "  kubectl explain modeldeployment.spec.rollout",
            "  make down          # leaves the machine as it was",
        ]
    )


def day(epoch_s: float) -> str:
    """ISO date, UTC."""
    return datetime.fromtimestamp(epoch_s, UTC).date().isoformat()


def _pair(pair: AucPair) -> dict[str, float]:
    return {
        "served": round(pair.served, 4),
        "never_retrained": round(pair.never_retrained, 4),
        "rows": pair.rows,
    }


def revision_note(revision: ModelRevision) -> str:
    """Where a revision comes from and what it is now, in two words."""
    return f"{revision.spec.origin.value}, {revision.status.role.value}"
