"""RetrainingRuns and their Jobs: both made once, never changed."""

import json
from typing import Any

from perennial_api.labels import API_VERSION
from perennial_api.modeldeployment.monitoring import Monitor, PerformanceMetric
from perennial_api.modeldeployment.resource import ModelDeploymentSpec
from perennial_api.modeldeployment.retraining import TrainingData
from perennial_api.modelruntime import ModelRuntimeSpec
from perennial_api.pods import Resources
from perennial_api.retrainingrun import Breach, RetrainingRun, RetrainingRunSpec

from perennial.manifests.context import Installation, Manifest, Owner, build_labels, build_metadata
from perennial.manifests.names import trainer_account
from perennial.manifests.pods import (
    TOKEN_FILE,
    build_environment,
    build_pod_security,
    build_resources,
    build_security,
    build_volume_mounts,
    build_volumes,
)
from perennial.rollout.observed import RevisionView
from perennial.rollout.retraining import Start

__all__ = ["build_job", "build_retraining_run"]

CONTAINER = "trainer"
# A node may die under a trainer; a trainer that fails by itself does so again soon enough.
RETRIES = 1


def build_retraining_run(
    owner: Owner, spec: ModelDeploymentSpec, start: Start, champion: RevisionView
) -> Manifest:
    """Build the run that one alarm starts."""
    assert spec.retraining is not None, "a run starts only where retraining is asked for"
    run = RetrainingRunSpec(
        deployment=owner.deployment,
        deployment_uid=owner.uid,
        trigger=Breach(monitor=start.monitor, breach_id=start.breach_id),
        champion_revision=champion.name,
        champion_uri=champion.model_uri,
        trainer=spec.retraining.trainer,
        labels_at_start=start.labels,
    )
    return {
        "apiVersion": API_VERSION,
        "kind": RetrainingRun.__name__,
        "metadata": build_metadata(owner, start.name),
        "spec": run.to_api(),
    }


def build_job(
    run: RetrainingRun, spec: ModelDeploymentSpec, runtime: ModelRuntimeSpec, installation: Installation
) -> Manifest:
    """Build the run's Job; it belongs to the run and goes with it."""
    name, deployment = run.metadata.name, run.spec.deployment
    owner = Owner(RetrainingRun.__name__, name, run.metadata.namespace, run.metadata.uid, deployment)
    container: Manifest = {
        "name": CONTAINER,
        "image": runtime.image,
        "imagePullPolicy": runtime.image_pull_policy.value,
        "env": build_environment(
            {
                "PERENNIAL_NAMESPACE": run.metadata.namespace,
                "PERENNIAL_DEPLOYMENT": deployment,
                "PERENNIAL_RUN": _render_run(run, spec),
                "PERENNIAL_OBSERVER_URL": installation.observer_url,
                "PERENNIAL_TOKEN_FILE": TOKEN_FILE,
            },
            runtime,
        ),
        "resources": build_resources(Resources(), runtime),
        "securityContext": build_security(),
        "terminationMessagePolicy": "File",
        "volumeMounts": build_volume_mounts(),
    }
    if runtime.command:
        container["command"] = list(runtime.command)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": build_metadata(owner, name),
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": installation.job_deadline_s,
            "template": {
                "metadata": {"labels": build_labels(deployment)},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": trainer_account(deployment),
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": build_pod_security(),
                    "containers": [container],
                    "volumes": build_volumes(),
                },
            },
        },
    }


def _render_run(run: RetrainingRun, spec: ModelDeploymentSpec) -> str:
    assert spec.retraining is not None, "a Job is made only where retraining is asked for"
    return json.dumps(
        {
            "run": run.metadata.name,
            "namespace": run.metadata.namespace,
            "deployment": run.spec.deployment,
            "champion": {"revision": run.spec.champion_revision, "uri": run.spec.champion_uri},
            "data": _render_data(spec.retraining.data),
            "event_time": spec.monitoring.event_time,
            "metric": _choose_metric(run.spec.trigger.monitor, spec.monitoring.monitors),
        },
        sort_keys=True,
    )


def _render_data(data: TrainingData) -> dict[str, Any]:
    return {
        "base_uri": data.base.uri if data.base else None,
        "window_s": data.window.seconds,
        "gap_s": data.gap.seconds,
        "test_s": data.test.seconds,
        "label_maturity_s": data.label_maturity.seconds,
        "weights": {
            "tau_s": data.weights.tau.seconds,
            "min_effective_samples": data.weights.min_effective_samples,
        },
    }


def _choose_metric(trigger: str, monitors: tuple[Monitor, ...]) -> str:
    """Return the metric of the monitor in alarm, or else of the first performance monitor, or else accuracy."""
    measured = {m.name: m.performance.metric for m in monitors if m.performance is not None}
    default = next(iter(measured.values()), PerformanceMetric.ACCURACY)
    return measured.get(trigger, default).value
