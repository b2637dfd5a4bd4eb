"""Memories, deployments and receivers; shared by the tests of webhooks."""

from perennial_api import ModelDeployment
from perennial_api.modeldeployment.monitoring import Monitor, Severity
from perennial_api.monitorreport import MonitorState
from perennial_observer.monitors.alarms.rule import AlarmState
from perennial_observer.monitors.alarms.verdicts import Assessment, Hindrance, Memory
from perennial_observer.store.rows import DeploymentKey
from perennial_observer.webhooks.targets import WebhookTarget

KEY = DeploymentKey("uid-1", "shop", "wine")
DRIFT = Monitor.model_validate({"name": "drift", "type": "Drift", "severity": "Page"})
EVERYBODY = WebhookTarget(url="https://a.example/hook", min_severity=Severity.LOG)
PAGER = WebhookTarget(url="https://b.example/hook", min_severity=Severity.PAGE)


def memory(state: MonitorState = MonitorState.OK, breach: str | None = None, **changes) -> Memory:
    latest = Assessment(
        breached=breach is not None,
        reason="ThresholdExceeded",
        message="sugar moved",
        samples=100,
        statistic=0.4,
        threshold=0.1,
        features=(("sugar", 0.4),),
    )
    return Memory(
        revision="wine-1",
        spec_digest="d",
        alarm=AlarmState(breach_id=breach),
        state=state,
        reason="ThresholdExceeded",
        message="sugar moved",
        latest=latest,
        window_start=0.0,
        window_end=60.0,
        evaluated_at=100.0,
    ).model_copy(update=changes)


OK, ALARM, NEXT = memory(), memory(MonitorState.ALARM, "drift-1"), memory(MonitorState.ALARM, "drift-2")
FAILED = memory(MonitorState.ERROR)
AWAY = Hindrance(reason="DetectorsUnavailable", message="the sidecar doesn't answer", since=2_000.0)
HINDERED, HINDERED_ALARM = (found.model_copy(update={"hindrance": AWAY}) for found in (OK, ALARM))
SILENT = memory(silent_since=300.0, last_transition=1_000.0)
SILENT_ALARM = ALARM.model_copy(update={"silent_since": 300.0})


def severe(found: Memory, severity: Severity) -> Memory:
    return found.model_copy(update={"severity": severity})


def deployment(severity: str = "Page", monitors: int = 1) -> ModelDeployment:
    spec = [{"name": "drift", "type": "Drift", "severity": severity}][:monitors]
    return ModelDeployment.model_validate(
        {
            "apiVersion": "perennial.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": KEY.name, "namespace": KEY.namespace, "uid": KEY.uid},
            "spec": {"model": {"uri": "perennial://sha256:" + "0" * 64}, "monitoring": {"monitors": spec}},
        }
    )
