"""Cases of the table of good and bad objects, and the two deployments that most of them are made of."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import perennial_api

API_VERSION = "perennial.dev/v1alpha1"
DIGEST = "9f2c" * 16
OTHER_DIGEST = "0a1b" * 16
URI = f"perennial://sha256:{DIGEST}"
DROP = object()


@dataclass(frozen=True)
class Case:
    """An object, and for a bad one the words that both must answer (empty where each has its own)."""

    name: str
    body: Mapping[str, Any]
    says: str = field(default="")

    @property
    def kind(self) -> str:
        return self.body["kind"]

    @property
    def model(self) -> type[Any]:
        return getattr(perennial_api, self.kind)


def with_changes(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    body = deepcopy(dict(base))
    for path, value in changes.items():
        *parents, last = path.split("/")
        at = body
        for key in parents:
            at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
        place = int(last) if isinstance(at, list) else last
        if value is DROP:
            del at[place]
        else:
            at[place] = value
    return body


MINIMAL = {
    "apiVersion": API_VERSION,
    "kind": "ModelDeployment",
    "metadata": {"name": "wine", "namespace": "default"},
    "spec": {"model": {"uri": URI}},
}
FULL = with_changes(
    MINIMAL,
    {
        "spec/model/sha256": DIGEST,
        "spec/server": {
            "runtime": "bentoml-skops",
            "minReplicas": 2,
            "maxReplicas": 8,
            "scaleMetric": "Concurrency",
            "scaleTarget": 16,
            "scaleDownWindow": "10m",
            "latencyBudget": "50ms",
            "onTooSlow": "Refuse",
            "requestTimeout": "5s",
            "maxRequestSize": "1Mi",
            "resources": {
                "requests": {"cpu": "250m", "memory": "512Mi"},
                "limits": {"cpu": 2, "memory": "1Gi", "vendor.example/gpu": 1},
            },
            "tolerations": [
                {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},
                {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
                {"key": "team", "value": "ml"},
            ],
            "nodeSelector": {"disk": "ssd"},
            "imagePullSecrets": [{"name": "registry"}],
        },
        "spec/rollout": {
            "type": "Canary",
            "canary": {
                "steps": [
                    {"setMirror": {"percent": 50, "duration": "1m"}},
                    {"setWeight": 5},
                    {"pause": {"duration": "2m"}},
                    {"setWeight": 50},
                    {"pause": {"duration": "1h30m"}},
                    {"setWeight": 50},
                    {"analysis": {"duration": "5m"}},
                    {"pause": {}},
                ]
            },
            "analysis": {
                "interval": "15s",
                "initialDelay": "0s",
                "metrics": [
                    {"name": "errors", "type": "ErrorRate", "maxRatio": 1.5, "maxRate": 0.01},
                    {"name": "slow", "type": "SlowRate", "maxRatio": 3},
                    {"name": "odd", "type": "OutlierRate", "dryRun": True},
                    {"name": "wrong", "type": "Feedback", "feedback": {"maturity": "5m"}},
                    {
                        "name": "revenue",
                        "type": "Prometheus",
                        "prometheus": {
                            "address": "http://prometheus.monitoring:9090",
                            "query": "sum(revenue{revision='{{revision}}'})",
                            "min": 0.9,
                            "max": 12,
                        },
                    },
                ],
                "minSamples": 200,
                "bake": "5m",
                "onInconclusive": "Promote",
                "progressDeadline": "30m",
            },
            "scaleDownDelay": "0s",
        },
        "spec/logger": {
            "mode": "All",
            "percent": 50,
            "exclude": ["ssn", "street"],
            "sink": {"url": "http://broker.events/predictions"},
        },
        "spec/monitoring": {
            "eventTime": "time_hour",
            "defaults": {
                "window": {"size": 1000, "maxAge": "6h", "minSamples": 200},
                "falseAlarmEvery": "30d",
                "alarm": {"breaches": 2, "of": 3},
                "clear": {"consecutive": 3},
            },
            "monitors": [
                {"name": "drift", "type": "Drift", "drift": {"detector": "KS"}, "window": {"size": 500}},
                {
                    "name": "outliers",
                    "type": "Outlier",
                    "outlier": {"detector": "IsolationForest", "contamination": 0.01, "maxRate": 0.03},
                    "alarm": {"breaches": 3, "of": 3},
                    "clear": {"consecutive": 1},
                    "falseAlarmEvery": "7d",
                },
                {
                    "name": "auc",
                    "type": "Performance",
                    "performance": {
                        "metric": "roc_auc",
                        "min": 0.7,
                        "labels": {"maturity": "1d", "minCoverage": 0.6, "minLabels": 300},
                    },
                },
                {"name": "loss", "type": "Performance", "performance": {"metric": "rmse", "max": 12.5}},
            ],
        },
        "spec/retraining": {
            "suspend": True,
            "triggers": [{"monitor": "auc"}, {"monitor": "drift"}],
            "blockOn": ["outliers"],
            "cooldown": {"base": "24h", "backoff": 2, "max": "7d"},
            "limits": {"perWeek": 3, "minNewLabels": 500},
            "data": {
                "base": {"uri": f"perennial://sha256:{OTHER_DIGEST}"},
                "window": "180d",
                "gap": "7d",
                "test": "14d",
                "labelMaturity": "1d",
                "weights": {"type": "InverseAge", "tau": "30d", "minEffectiveSamples": 1000},
            },
            "trainer": "refit",
            "promotion": "Auto",
        },
        "spec/revisionHistoryLimit": 5,
    },
)

PVC = {"uri": "pvc://models/wine/v3", "sha256": DIGEST}
S3 = {"uri": "s3://models/wine/v3.tar", "sha256": DIGEST, "secretRef": {"name": "wine-s3"}}

STEPS = "spec/rollout/canary/steps"
ANALYSIS = "spec/rollout/analysis"
METRICS = f"{ANALYSIS}/metrics"
MONITORS = "spec/monitoring/monitors"


def bad_deployment(
    name: str, changes: Mapping[str, Any], says: str = "", base: Mapping[str, Any] = FULL
) -> Case:
    return Case(name, with_changes(base, changes), says)
