"""Did the main job do what it must? Pure: facts in, report out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """One thing that must have happened."""

    name: str
    passed: bool
    message: str


@dataclass
class Facts:
    """What happened, filled in as it happens."""

    drift_alarm: str = ""
    run_phase: str = ""
    run_message: str = ""
    champion_score: float | None = None
    challenger_score: float | None = None
    first_revision: str = ""
    retrained_revision: str = ""
    retrained_is_stable: bool = False
    retrained_evidence: str = ""
    bad_revision: str = ""
    bad_rolled_back: bool = False
    bad_reason: str = ""
    failed_by_bad: int = 0
    failed_otherwise: int = 0
    refused: int = 0
    requests: int = 0
    labels: int = 0
    served_auc: float | None = None
    never_retrained_auc: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def assess(facts: Facts) -> list[Check]:
    """Return every check of the demo; all must pass for exit status 0."""
    return [
        Check(
            "drift was detected",
            bool(facts.drift_alarm),
            facts.drift_alarm or "no Drift monitor was in alarm",
        ),
        Check(
            "retraining ran",
            facts.run_phase == "Accepted",
            f"{facts.run_phase or 'no run'}: {facts.run_message}",
        ),
        Check(
            "the candidate was promoted by its gates",
            facts.retrained_is_stable and bool(facts.retrained_evidence),
            facts.retrained_evidence or "it never became stable with evidence",
        ),
        Check(
            "the bad version was rolled back",
            facts.bad_rolled_back and facts.failed_by_bad > 0,
            facts.bad_reason or "it was not stopped",
        ),
        Check(
            "no other request failed",
            facts.failed_otherwise == 0 and facts.refused == 0 and facts.requests > 0,
            f"{facts.failed_otherwise} failed and {facts.refused} were refused of {facts.requests}, "
            f"beside {facts.failed_by_bad} failed by the bad version",
        ),
    ]


def render_text(facts: Facts, checks: list[Check]) -> str:
    """Return the report as text."""
    lines = [f"{'PASS' if check.passed else 'FAIL'}  {check.name}: {check.message}" for check in checks]
    if facts.champion_score is not None and facts.challenger_score is not None:
        lines.append(
            f"      AUC on the time-gapped test: {facts.champion_score:.3f} before, {facts.challenger_score:.3f} retrained"
        )
    if facts.served_auc is not None and facts.never_retrained_auc is not None:
        lines.append(
            f"      AUC live since the promotion: {facts.served_auc:.3f} served, "
            f"{facts.never_retrained_auc:.3f} had it never been retrained"
        )
    lines += [f"      {name}: {seconds:.0f} s" for name, seconds in facts.seconds.items()]
    return "\n".join(lines)


def render_json(facts: Facts, checks: list[Check]) -> dict[str, Any]:
    """Return the same as JSON values."""
    return {
        "passed": all(c.passed for c in checks),
        "checks": [asdict(c) for c in checks],
        "facts": asdict(facts),
    }
