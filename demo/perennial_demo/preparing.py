"""Before the replay: train and push the models, and apply the example to a place without remains."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import perennial_bundle
import yaml

from perennial_demo.cluster import Cluster, Snapshot
from perennial_demo.install import ROOT

EXAMPLE = ROOT / "examples" / "01-flights"
TRAIN_TIMEOUT_S = 300.0
PUSH_TIMEOUT_S = 120.0
DELETE_TIMEOUT_S = 180.0

Report = Callable[[str], None]


@dataclass(frozen=True)
class Models:
    """The bundles, and where the store keeps them and the training rows."""

    first: perennial_bundle.Bundle
    bad: perennial_bundle.Bundle
    first_uri: str
    bad_uri: str
    base_uri: str


async def prepare_models(cluster: Cluster, directory: Path, report: Report) -> Models:
    """Run the example's training scripts as a user would, and push what they write."""
    report("model: train on January and February")
    await _python(cluster, EXAMPLE / "train.py", directory / "first", "--base", directory / "base.parquet")
    report("model: make the bad version")
    await _python(cluster, EXAMPLE / "bad_version.py", directory / "bad")
    report("model: kubectl perennial push")
    first_uri, bad_uri, base_uri = [
        await push(cluster, directory / name) for name in ("first", "bad", "base.parquet")
    ]
    return Models(
        first=perennial_bundle.load(directory / "first"),
        bad=perennial_bundle.load(directory / "bad"),
        first_uri=first_uri,
        bad_uri=bad_uri,
        base_uri=base_uri,
    )


async def push(cluster: Cluster, path: Path) -> str:
    """Push a bundle or dataset and return its uri."""
    program = Path(sys.executable).with_name("kubectl-perennial")
    answer = await cluster.run(str(program), "push", str(path), "-o", "json", timeout_s=PUSH_TIMEOUT_S)
    uri: str = json.loads(answer)["uri"]
    return uri


async def apply_example(cluster: Cluster, models: Models, report: Report) -> tuple[str, str]:
    """Apply the example with the pushed uris, after removing what an earlier run left; return namespace and name."""
    namespace_object, deployment = fill_example((EXAMPLE.parent / "01-flights.yaml").read_text(), models)
    namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    report("example: remove what an earlier run left")
    await cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", timeout_s=DELETE_TIMEOUT_S)
    report("example: kubectl apply -f examples/01-flights.yaml")
    for document in (namespace_object, deployment):
        await cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))
    return namespace, name


def fill_example(text: str, models: Models) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put the uris where the example has placeholders; returns its Namespace and its ModelDeployment."""
    by_kind = {document["kind"]: document for document in yaml.safe_load_all(text)}
    deployment = by_kind["ModelDeployment"]
    deployment["spec"]["model"]["uri"] = models.first_uri
    deployment["spec"]["retraining"]["data"]["base"]["uri"] = models.base_uri
    return by_kind["Namespace"], deployment


def explain_not_ready(seen: Snapshot) -> str:
    """What the conditions say about a deployment that serves not yet."""
    if seen.deployment is None:
        return "the ModelDeployment is gone"
    conditions = seen.deployment.status.conditions
    return (
        "; ".join(f"{c.type}={c.status.value} {c.reason}: {c.message}" for c in conditions) or "no status yet"
    )


def is_ready(seen: Snapshot) -> bool:
    """Whether the deployment answers through the gateway."""
    conditions = seen.deployment.status.conditions if seen.deployment is not None else ()
    return any(c.type == "Ready" and c.status.value == "True" for c in conditions)


async def _python(cluster: Cluster, script: Path, *arguments: Path | str) -> None:
    await cluster.run(sys.executable, str(script), *map(str, arguments), timeout_s=TRAIN_TIMEOUT_S)
