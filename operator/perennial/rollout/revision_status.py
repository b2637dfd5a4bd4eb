"""The status of each revision, and which revisions and runs are kept as history."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from perennial_api.modelrevision import ModelRevision, ModelRevisionStatus, RevisionRole
from perennial_api.retrainingrun import RetrainingRun

from perennial.rollout.decision import Decision

__all__ = ["KEPT_RUNS", "choose_kept_revisions", "choose_kept_runs", "next_revision_status"]

KEPT_RUNS = 10
_ENDED = frozenset({RevisionRole.RETIRED, RevisionRole.FAILED})


def next_revision_status(revision: ModelRevision, decision: Decision, now: datetime) -> ModelRevisionStatus:
    """Return a revision's next status: its role, and the reason and figures where its rollout ended in this pass."""
    status = revision.status
    role = decision.roles.get(revision.metadata.name, status.role)
    update: dict[str, Any] = {"role": role}
    if role is not status.role:
        update |= _transition(status, role, now)
    outcome = decision.outcome
    if outcome is not None and outcome.revision == revision.metadata.name:
        update |= {
            "reason": outcome.reason,
            "message": outcome.message[:4096],
            "evidence": outcome.evidence,
        }
    return status.model_copy(update=update)


def _transition(status: ModelRevisionStatus, role: RevisionRole, now: datetime) -> dict[str, Any]:
    if role is RevisionRole.CANARY:
        # On trial it has to prove itself again.
        return {
            "canary_time": now,
            "stable_time": None,
            "attempt": status.attempt + 1,
            "reason": "",
            "message": "",
            "evidence": (),
        }
    if role is RevisionRole.STABLE:
        return {"stable_time": now, "retired_time": None}
    if role is RevisionRole.RETIRED:
        return {"retired_time": now, "reason": "Replaced", "message": "It serves no more."}
    return {"retired_time": now} if role in _ENDED else {}


def choose_kept_revisions(
    revisions: Mapping[str, ModelRevision], decision: Decision, runs: Iterable[RetrainingRun], limit: int
) -> frozenset[str]:
    """Return the revisions to keep: all that matter now, and of the others the latest `limit`.

    Those of the latest run stay whatever their age, since their roles tell whether its candidate was tried already.
    """
    latest = max(runs, key=_run_age, default=None)
    rollout = decision.rollout
    needed = set(decision.keep) | {n for n in (rollout.stable, rollout.canary, rollout.failed_revision) if n}
    if latest is not None:
        needed |= {n for n, r in revisions.items() if r.spec.retraining_run == latest.metadata.name}
    others = sorted((n for n in revisions if n not in needed), key=lambda n: _age(revisions[n]), reverse=True)
    return frozenset(needed | set(others[:limit]))


def choose_kept_runs(runs: Iterable[RetrainingRun]) -> frozenset[str]:
    """Return the runs to keep: those under way, and the latest."""
    in_order = sorted(runs, key=_run_age, reverse=True)
    return frozenset(
        run.metadata.name
        for index, run in enumerate(in_order)
        if index < KEPT_RUNS or not run.status.phase.is_final
    )


def _age(revision: ModelRevision) -> tuple[str, str]:
    return str(revision.metadata.creation_timestamp or ""), revision.metadata.name


def _run_age(run: RetrainingRun) -> tuple[str, str]:
    return str(run.metadata.creation_timestamp or ""), run.metadata.name
