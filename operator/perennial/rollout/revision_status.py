"""The status of each revision, and which revisions and runs are kept as history."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from perennial_api.modelrevision import Evidence, ModelRevision, ModelRevisionStatus, RevisionRole
from perennial_api.retrainingrun import RetrainingRun

from perennial.rollout.decision import Decision

__all__ = ["KEPT_RUNS", "Choice", "choose_kept_revisions", "choose_kept_runs", "next_revision_status"]

KEPT_RUNS = 10
MOST_EVIDENCE = 20
_ENDED = frozenset({RevisionRole.RETIRED, RevisionRole.FAILED})


@dataclass(frozen=True, slots=True)
class Choice:
    """A revision that stands for the wish in force though it was made for another: by undo, or as a winner.

    Kept on the revision itself, so that a lost status changes nothing. Without hashes it stands for its own wish again.
    """

    revision: str
    model_hash: str | None
    inputs_hash: str | None


def next_revision_status(
    revision: ModelRevision, decision: Decision, now: datetime, choice: Choice | None = None
) -> ModelRevisionStatus:
    """Return a revision's next status: its role, and the reason and figures where its rollout ended in this pass.

    `choice` is what was chosen in this pass.
    """
    status, name = revision.status, revision.metadata.name
    role = decision.roles.get(name, status.role)
    update: dict[str, Any] = {"role": role}
    if role is not status.role:
        update |= _transition(status, role, now, keeps_past=decision.rollout.pinned == name)
    outcome = decision.outcome
    # A pass that is done again, because its last write was refused, tells nothing new.
    is_told = role is status.role and outcome is not None and status.reason == outcome.reason
    if outcome is not None and outcome.revision == name and not is_told:
        update |= {
            "reason": outcome.reason,
            "message": outcome.message[:4096],
            "evidence": (*_evidence_before(status, decision), *outcome.evidence)[-MOST_EVIDENCE:],
        }
    if choice is not None and choice.revision == name:
        update |= {"consumed_model_hash": choice.model_hash, "consumed_inputs_hash": choice.inputs_hash}
    return status.model_copy(update=update)


def _transition(
    status: ModelRevisionStatus, role: RevisionRole, now: datetime, *, keeps_past: bool
) -> dict[str, Any]:
    if role is RevisionRole.CANARY:
        # On trial it has to prove itself again; not after undo, which goes by what it has proved.
        past = {} if keeps_past else {"stable_time": None, "evidence": ()}
        return past | {"canary_time": now, "attempt": status.attempt + 1, "reason": "", "message": ""}
    if role is RevisionRole.STABLE:
        # Where its pods were ready before any pass had seen it on trial, that was a rollout all the same.
        on_trial = status.role is RevisionRole.CANARY
        began = {} if on_trial else {"canary_time": now, "attempt": status.attempt + 1}
        return began | {"stable_time": now, "retired_time": None}
    if role is RevisionRole.RETIRED:
        return {"retired_time": now, "reason": "Replaced", "message": "It serves no more."}
    return {"retired_time": now} if role in _ENDED else {}


def _evidence_before(status: ModelRevisionStatus, decision: Decision) -> tuple[Evidence, ...]:
    """Return what earlier rollouts of this revision left: undo adds to it. Deciding again after a crash adds nothing."""
    began = decision.rollout.started_at
    return tuple(e for e in status.evidence if began is not None and e.time < began)


def choose_kept_revisions(
    revisions: Mapping[str, ModelRevision], decision: Decision, runs: Iterable[RetrainingRun], limit: int
) -> frozenset[str]:
    """Return the revisions to keep: all that matter now, and of the others the latest `limit`.

    Those of the latest run stay whatever their age, since their roles tell whether its candidate was tried already.
    """
    latest = max(runs, key=_run_age, default=None)
    rollout = decision.rollout
    named = (rollout.stable, rollout.canary, rollout.failed_revision, rollout.pinned)
    needed = set(decision.keep) | {name for name in named if name}
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
