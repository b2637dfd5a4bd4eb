"""What a revision remembers of its rollouts, whichever of its roles the passes happened to see."""

from datetime import UTC, datetime, timedelta

from perennial.rollout.decision import Decision
from perennial.rollout.revision_status import next_revision_status
from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus
from perennial_api.modelrevision import ModelRevision, RevisionRole

from tests.unit.operator.builders import digest, uri

NOW = datetime(2024, 1, 1, tzinfo=UTC)
NAME = "wine-1"


def revision() -> ModelRevision:
    model = {"uri": uri("a"), "digest": digest("a"), "shortDigest": digest("a").removeprefix("sha256:")[:12]}
    spec = {
        "deployment": "wine",
        "deploymentUid": "uid",
        "model": model,
        "runtime": {"kind": "ClusterModelRuntime", "name": "r", "image": "i:1", "port": 3000},
        "podTemplate": {},
        "origin": "Spec",
        "modelHash": "a1",
        "inputsHash": "b1",
    }
    return ModelRevision.model_validate({"metadata": {"name": NAME, "namespace": "shop"}, "spec": spec})


def walk(*roles: RevisionRole) -> ModelRevision:
    """Return the revision after one pass for each role."""
    seen = revision()
    for turn, role in enumerate(roles):
        rollout = RolloutStatus(phase=RolloutPhase.HEALTHY)
        decision = Decision(rollout, {}, frozenset({NAME}), {NAME: role})
        status = next_revision_status(seen, decision, NOW + timedelta(seconds=turn))
        seen = seen.model_copy(update={"status": status})
    return seen


def test_revision_that_is_stable_in_its_first_pass_has_had_a_rollout() -> None:
    seen = walk(RevisionRole.STABLE).status
    assert seen.attempt == walk(RevisionRole.CANARY, RevisionRole.STABLE).status.attempt == 1
    assert seen.canary_time == seen.stable_time == NOW


def test_staying_stable_is_no_rollout() -> None:
    assert walk(RevisionRole.CANARY, RevisionRole.STABLE, RevisionRole.STABLE).status.attempt == 1


def test_coming_back_is_another_rollout_with_or_without_a_trial() -> None:
    back = (RevisionRole.STABLE, RevisionRole.RETIRED)
    assert walk(*back, RevisionRole.STABLE).status.attempt == 2
    assert walk(*back, RevisionRole.CANARY, RevisionRole.STABLE).status.attempt == 2
