"""Children as they are sent to the API server; `GOLDEN=write` in the environment rewrites the expected files."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from perennial.manifests.context import Installation, Owner
from perennial.manifests.desired import Wish, build_desired
from perennial.manifests.retraining import build_job, build_retraining_run
from perennial.manifests.revision import ResolvedRuntime, build_revision
from perennial.manifests.views import view_revisions
from perennial.rollout.decision import Decision
from perennial.rollout.lineage import choose_wanted
from perennial.rollout.retraining import Start
from perennial_api.modeldeployment.resource import ModelDeployment
from perennial_api.modeldeployment.status import RolloutPhase, RolloutStatus
from perennial_api.modelrevision import ModelRevision, RuntimeKind
from perennial_api.modelruntime import ModelRuntimeSpec
from perennial_api.retrainingrun import RetrainingRun

FOLDER = Path(__file__).parent / "golden"
CASES = sorted(path.name.removesuffix(".in.yaml") for path in FOLDER.glob("*.in.yaml"))
INSTALLATION = Installation(
    gateway_host="perennial-gateway.perennial-system.svc.cluster.local",
    observer_url="http://perennial-observer.perennial-system.svc.cluster.local",
)


def build_all(case: dict[str, Any]) -> list[dict[str, Any]]:
    deployment = ModelDeployment.model_validate(case["deployment"])
    metadata, spec = deployment.metadata, deployment.spec
    owner = Owner("ModelDeployment", metadata.name, metadata.namespace, metadata.uid, metadata.name)
    runtime = ResolvedRuntime(
        RuntimeKind.CLUSTER_MODEL_RUNTIME,
        spec.server.runtime,
        ModelRuntimeSpec.model_validate(case["server"]),
        ModelRuntimeSpec.model_validate(case["adapter"]) if "adapter" in case else None,
    )
    made = build_revision(owner, spec, choose_wanted(spec, None, (), {}), runtime, INSTALLATION, parent=None)
    revision = ModelRevision.model_validate(made)
    name = revision.metadata.name
    decision = Decision(
        rollout=RolloutStatus(phase=RolloutPhase.HEALTHY, stable=name),
        weights={name: 100},
        keep=frozenset({name}),
        roles={},
    )
    children = build_desired(owner, Wish(spec, decision, {name: revision}, (), (made,), {}), INSTALLATION)
    if "trainer" in case:
        champion = view_revisions([revision], (), (), {})[name]
        start = Start("wine-run-0123abcd", "accuracy", "accuracy-3f2a", 1200)
        run = build_retraining_run(owner, spec, start, champion)
        stored = RetrainingRun.model_validate(run | {"metadata": run["metadata"] | {"uid": "uid-of-run"}})
        children += [
            run,
            build_job(stored, spec, ModelRuntimeSpec.model_validate(case["trainer"]), INSTALLATION),
        ]
    return children


@pytest.mark.parametrize("name", CASES)
def test_children_are_what_the_golden_file_says(name: str) -> None:
    case = yaml.safe_load((FOLDER / f"{name}.in.yaml").read_text())
    shown = [child for child in build_all(case) if child["kind"] in case["show"]]
    got = yaml.safe_dump_all(shown, sort_keys=True, width=110)
    path = FOLDER / f"{name}.out.yaml"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(got)
    assert got == path.read_text()


def test_there_are_cases() -> None:
    assert CASES == ["addresses", "claim", "container", "deployment", "full", "grpc", "retraining", "store"]
