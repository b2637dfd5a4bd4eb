"""Good and bad objects of every kind: the models and the real API server must agree on each of them.

`tests/contract/crds` holds the models to this table, `tests/e2e/test_api_agreement.py` the API server.
"""

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


def _with(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    body = deepcopy(dict(base))
    for path, value in changes.items():
        *parents, last = path.split("/")
        at = body
        for key in parents:
            at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
        if value is DROP:
            del at[last]
        else:
            at[int(last) if isinstance(at, list) else last] = value
    return body


MINIMAL = {
    "apiVersion": API_VERSION,
    "kind": "ModelDeployment",
    "metadata": {"name": "wine", "namespace": "default"},
    "spec": {"model": {"uri": URI}},
}
FULL = _with(
    MINIMAL,
    {
        "spec/model/sha256": DIGEST,
        "spec/server": {
            "runtime": "bentoml-skops",
            "minReplicas": 2,
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
                    {"setWeight": 5},
                    {"pause": {"duration": "2m"}},
                    {"setWeight": 50},
                    {"pause": {"duration": "1h30m"}},
                    {"setWeight": 50},
                ]
            },
            "analysis": {
                "interval": "15s",
                "initialDelay": "0s",
                "metrics": [
                    {"name": "errors", "type": "ErrorRate", "maxRatio": 1.5, "maxRate": 0.01},
                    {"name": "gross", "type": "ErrorRate", "maxRatio": 3},
                ],
                "minSamples": 200,
                "bake": "5m",
                "onInconclusive": "Promote",
                "progressDeadline": "30m",
            },
        },
        "spec/logger": {"mode": "All", "exclude": ["ssn", "street"]},
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
REVISION = {
    "apiVersion": API_VERSION,
    "kind": "ModelRevision",
    "metadata": {"name": "wine-1a2b3c4d", "namespace": "default"},
    "spec": {
        "deployment": "wine",
        "deploymentUid": "6f1d0c9e-0000-4000-8000-000000000000",
        "model": {"uri": URI, "digest": f"sha256:{DIGEST}", "shortDigest": DIGEST[:12]},
        "runtime": {
            "kind": "ClusterModelRuntime",
            "name": "bentoml-skops",
            "image": "registry.example/perennial/server:v1@sha256:" + DIGEST,
            "port": 3000,
        },
        "podTemplate": {"spec": {"containers": [{"name": "server", "image": "x"}]}},
        "origin": "Spec",
        "modelHash": "1a2b3c",
        "inputsHash": "4d5e6f",
    },
}
ROUTE = {
    "apiVersion": API_VERSION,
    "kind": "ModelRoute",
    "metadata": {"name": "wine", "namespace": "default"},
    "spec": {
        "revisions": [
            {"name": "wine-1a2b3c4d", "service": "wine-1a2b3c4d", "port": 3000, "weightPercent": 95},
            {"name": "wine-5e6f7a8b", "service": "wine-5e6f7a8b", "port": 3000, "weightPercent": 5},
        ]
    },
}
FULL_ROUTE = {
    **ROUTE,
    "spec": {
        **ROUTE["spec"],
        "sticky": {"type": "Cookie", "name": "perennial", "salt": "wine-3", "ttl": "7d"},
        "mirror": {"revision": "wine-5e6f7a8b", "percent": 25},
        "preview": "wine-5e6f7a8b",
        "latencyBudgetMs": 50,
        "limits": {"timeout": "5s", "maxBody": "1Mi"},
    },
}
REPORT = {
    "apiVersion": API_VERSION,
    "kind": "MonitorReport",
    "metadata": {"name": "wine", "namespace": "default"},
}
RUN = {
    "apiVersion": API_VERSION,
    "kind": "RetrainingRun",
    "metadata": {"name": "wine-0c1d2e3f", "namespace": "default"},
    "spec": {
        "deployment": "wine",
        "deploymentUid": "6f1d0c9e-0000-4000-8000-000000000000",
        "trigger": {"monitor": "auc", "breachId": "auc-3f2a"},
        "championRevision": "wine-1a2b3c4d",
        "championUri": URI,
        "trainer": "refit",
        "labelsAtStart": 12000,
    },
}
RUNTIME = {
    "apiVersion": API_VERSION,
    "kind": "ModelRuntime",
    "metadata": {"name": "mine", "namespace": "default"},
    "spec": {"role": "Server", "image": "registry.example:5000/team/server:v1"},
}
CLUSTER_RUNTIME = {
    "apiVersion": API_VERSION,
    "kind": "ClusterModelRuntime",
    "metadata": {"name": "mine"},
    "spec": {
        "role": "Trainer",
        "image": "registry.example/trainer",
        "imagePullPolicy": "Never",
        "command": ["perennial-refit", "--verbose"],
        "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
        "formats": ["skops"],
        "port": 8080,
        "resources": {"requests": {"cpu": "10m"}},
    },
}

PVC = {"uri": "pvc://models/wine/v3", "sha256": DIGEST}

GOOD = (
    Case("the least of a deployment", MINIMAL),
    Case("every field of a deployment", FULL),
    Case("a pinned model on a volume", _with(MINIMAL, {"spec/model": PVC})),
    Case("a name of 40 characters", _with(MINIMAL, {"metadata/name": "w" * 40})),
    Case("a canary without steps", _with(MINIMAL, {"spec/rollout": {"canary": {"steps": []}}})),
    Case("no log and no monitors", _with(MINIMAL, {"spec/logger": {"mode": "None"}})),
    Case("a days-and-hours duration", _with(FULL, {"spec/retraining/data/gap": "1d12h"})),
    Case("milliseconds", _with(FULL, {"spec/rollout/analysis/initialDelay": "500ms"})),
    Case("a revision from the spec", REVISION),
    Case(
        "a revision from a retraining",
        _with(
            REVISION, {"spec/origin": "Retraining", "spec/retrainingRun": "run-1", "spec/parent": "wine-0"}
        ),
    ),
    Case("a route of two revisions", ROUTE),
    Case("every field of a route", FULL_ROUTE),
    Case(
        "a route sticky by header",
        _with(FULL_ROUTE, {"spec/sticky": {"type": "Header", "name": "X-User-Id", "salt": "wine-3"}}),
    ),
    Case("a route's body in bytes", _with(FULL_ROUTE, {"spec/limits": {"maxBody": 4096}})),
    Case("a report without verdicts", REPORT),
    Case("a run", RUN),
    Case("a runtime", RUNTIME),
    Case("every field of a cluster's runtime", CLUSTER_RUNTIME),
)

STEPS = "spec/rollout/canary/steps"
MONITORS = "spec/monitoring/monitors"


def _bad_deployment(
    name: str, changes: Mapping[str, Any], says: str = "", base: Mapping[str, Any] = FULL
) -> Case:
    return Case(name, _with(base, changes), says)


BAD_DEPLOYMENTS = (
    _bad_deployment("an unknown field", {"spec/canary": {}}),
    _bad_deployment("an unknown field deep down", {"spec/rollout/analysis/window": "5m"}),
    _bad_deployment("no model", {"spec/model": DROP}),
    _bad_deployment("no uri", {"spec/model/uri": DROP}),
    _bad_deployment("another scheme", {"spec/model": {"uri": "s3://bucket/wine"}}),
    _bad_deployment("a short digest", {"spec/model": {"uri": "perennial://sha256:9f2c"}}),
    _bad_deployment("a path that climbs", {"spec/model": {**PVC, "uri": "pvc://models/../../etc"}}),
    _bad_deployment("an unpinned volume", {"spec/model": {"uri": PVC["uri"]}}, "needs sha256", MINIMAL),
    _bad_deployment("two digests", {"spec/model/sha256": OTHER_DIGEST}, "sha256 differs"),
    _bad_deployment("a name too long", {"metadata/name": "w" * 41}, "longer than 40 characters"),
    _bad_deployment("a name that begins with a digit", {"metadata/name": "1wine"}, "begin with a letter"),
    _bad_deployment("a name with a dot", {"metadata/name": "wine.red"}, "begin with a letter"),
    _bad_deployment("no replicas", {"spec/server/minReplicas": 0}),
    _bad_deployment("replicas as text", {"spec/server/minReplicas": "2"}),
    _bad_deployment("replicas as truth", {"spec/server/minReplicas": True}),
    _bad_deployment("a quantity without number", {"spec/server/resources/requests/cpu": "much"}),
    _bad_deployment(
        "a misspelled resource", {"spec/server/resources/requests/memroy": "1Gi"}, "correct the name"
    ),
    _bad_deployment(
        "a request over its limit", {"spec/server/resources/requests/memory": "2Gi"}, "larger than its limit"
    ),
    _bad_deployment(
        "a whole request over its limit", {"spec/server/resources/requests/cpu": 3}, "larger than its limit"
    ),
    _bad_deployment(
        "a value that Exists ignores", {"spec/server/tolerations/0/value": "x"}, "Exists takes no value"
    ),
    _bad_deployment("a toleration of nothing", {"spec/server/tolerations/0": {}}, "tolerates every taint"),
    _bad_deployment(
        "seconds without NoExecute",
        {"spec/server/tolerations/2/tolerationSeconds": 5},
        "tolerationSeconds needs effect NoExecute",
    ),
    _bad_deployment("a pull secret twice", {"spec/server/imagePullSecrets": [{"name": "a"}, {"name": "a"}]}),
    _bad_deployment("another rollout", {"spec/rollout/type": "BlueGreen"}),
    _bad_deployment("a weight over 100", {STEPS: [{"setWeight": 101}]}),
    _bad_deployment("a weight of zero", {STEPS: [{"setWeight": 0}]}),
    _bad_deployment("half a percent", {STEPS: [{"setWeight": 0.5}]}),
    _bad_deployment("steps that go down", {STEPS: [{"setWeight": 50}, {"setWeight": 5}]}, "may not fall"),
    _bad_deployment(
        "steps that go down after a pause",
        {STEPS: [{"setWeight": 50}, {"pause": {"duration": "1m"}}, {"setWeight": 49}]},
        "may not fall",
    ),
    _bad_deployment("an empty step", {STEPS: [{}]}, "exactly one key"),
    _bad_deployment(
        "a step of two", {STEPS: [{"setWeight": 5, "pause": {"duration": "1m"}}]}, "exactly one key"
    ),
    _bad_deployment("a pause without end", {STEPS: [{"pause": {}}]}),
    _bad_deployment("a pause of nothing", {STEPS: [{"pause": {"duration": "0s"}}]}, "at least 1s"),
    _bad_deployment("too many steps", {STEPS: [{"setWeight": 5}] * 21}),
    _bad_deployment("a duration without unit", {"spec/rollout/analysis/bake": "5"}),
    _bad_deployment("a duration as number", {"spec/rollout/analysis/bake": 5}),
    _bad_deployment("a broken duration", {"spec/rollout/analysis/bake": "1.5h"}),
    _bad_deployment("a negative duration", {"spec/rollout/analysis/bake": "-5m"}),
    _bad_deployment("units out of order", {"spec/rollout/analysis/bake": "5m1h"}),
    _bad_deployment("no interval", {"spec/rollout/analysis/interval": "0s"}, "at least 1s"),
    _bad_deployment("a rash deadline", {"spec/rollout/analysis/progressDeadline": "59s"}, "at least 1m"),
    _bad_deployment("no metrics", {"spec/rollout/analysis/metrics": []}),
    _bad_deployment("a metric twice", {"spec/rollout/analysis/metrics/1/name": "errors"}),
    _bad_deployment("an unknown metric", {"spec/rollout/analysis/metrics/0/type": "SlowRate"}),
    _bad_deployment("a ratio below one", {"spec/rollout/analysis/metrics/0/maxRatio": 0.9}),
    _bad_deployment("a rate of one", {"spec/rollout/analysis/metrics/0/maxRate": 1}),
    _bad_deployment("a rate of zero", {"spec/rollout/analysis/metrics/0/maxRate": 0}),
    _bad_deployment("another end", {"spec/rollout/analysis/onInconclusive": "Wait"}),
    _bad_deployment("half a log", {"spec/logger/mode": "Some"}),
    _bad_deployment("a column excluded twice", {"spec/logger/exclude": ["ssn", "ssn"]}),
    _bad_deployment("monitors without log", {"spec/logger/mode": "None"}, "set logger.mode to All"),
    _bad_deployment("the event time excluded", {"spec/logger/exclude": ["time_hour"]}, "remove that column"),
    _bad_deployment(
        "a window never judged", {"spec/monitoring/defaults/window/minSamples": 1001}, "no window could ever"
    ),
    _bad_deployment(
        "a window never judged for want of defaults",
        {f"{MONITORS}/0/window": {"size": 100}},
        "no window could ever",
    ),
    _bad_deployment(
        "an alarm never raised", {"spec/monitoring/defaults/alarm/breaches": 4}, "never be raised"
    ),
    _bad_deployment(
        "hourly false alarms", {"spec/monitoring/defaults/falseAlarmEvery": "59m"}, "at least 1h"
    ),
    _bad_deployment("a monitor twice", {f"{MONITORS}/1/name": "drift"}),
    _bad_deployment("a monitor without type", {f"{MONITORS}/0/type": DROP}),
    _bad_deployment("another monitor", {f"{MONITORS}/0/type": "DataQuality"}),
    _bad_deployment("another detector", {f"{MONITORS}/0/drift/detector": "MMD"}),
    _bad_deployment("a member of another type", {f"{MONITORS}/0/type": "Outlier"}, "must fit the type"),
    _bad_deployment("performance of nothing", {f"{MONITORS}/2/performance": DROP}, "must fit the type"),
    _bad_deployment(
        "outliers that are usual",
        {f"{MONITORS}/1/outlier/maxRate": 0.01},
        "larger than outlier.contamination",
    ),
    _bad_deployment(
        "performance without bound", {f"{MONITORS}/2/performance/min": DROP}, "exactly one bound"
    ),
    _bad_deployment("performance with two bounds", {f"{MONITORS}/2/performance/max": 1}, "exactly one bound"),
    _bad_deployment(
        "a score with max", {f"{MONITORS}/2/performance": {"metric": "f1", "max": 0.5}}, "losses and take max"
    ),
    _bad_deployment(
        "a loss with min", {f"{MONITORS}/3/performance": {"metric": "mae", "min": 0.5}}, "losses and take max"
    ),
    _bad_deployment("an unknown performance metric", {f"{MONITORS}/2/performance/metric": "auc"}),
    _bad_deployment("coverage in percent", {f"{MONITORS}/2/performance/labels/minCoverage": 60}),
    _bad_deployment("retraining without triggers", {"spec/retraining/triggers": []}),
    _bad_deployment("the same trigger twice", {"spec/retraining/triggers/1/monitor": "auc"}),
    _bad_deployment(
        "a trigger that isn't watched",
        {"spec/retraining/triggers/0/monitor": "accuracy"},
        "may name only monitors",
    ),
    _bad_deployment(
        "a blocker that isn't watched", {"spec/retraining/blockOn": ["quality"]}, "may name only monitors"
    ),
    _bad_deployment(
        "a trigger that blocks itself", {"spec/retraining/blockOn": ["drift"]}, "can't be a trigger too"
    ),
    _bad_deployment(
        "retraining off a volume", {"spec/model": PVC}, "retraining needs a model in the bundle store"
    ),
    _bad_deployment(
        "a cooldown over its maximum", {"spec/retraining/cooldown/base": "8d"}, "raise max or lower base"
    ),
    _bad_deployment("a backoff that shrinks", {"spec/retraining/cooldown/backoff": 0.5}),
    _bad_deployment("nothing left to train on", {"spec/retraining/data/window": "21d"}, "no row is left"),
    _bad_deployment("base data elsewhere", {"spec/retraining/data/base/uri": "s3://bucket/rows.parquet"}),
    _bad_deployment("other weights", {"spec/retraining/data/weights/type": "Exponential"}),
    _bad_deployment("no age", {"spec/retraining/data/weights/tau": "0s"}, "at least 1s"),
    _bad_deployment("promotion by hand", {"spec/retraining/promotion": "Manual"}),
    _bad_deployment("suspend as text", {"spec/retraining/suspend": "yes"}),
    _bad_deployment("no history", {"spec/revisionHistoryLimit": 0}),
)

BAD_OTHERS = (
    Case(
        "a short digest that differs",
        _with(REVISION, {"spec/model/shortDigest": "0" * 12}),
        "first hex digits",
    ),
    Case(
        "a run of a revision from the spec",
        _with(REVISION, {"spec/retrainingRun": "r"}),
        "belongs to origin Retraining",
    ),
    Case(
        "no run of a retrained revision",
        _with(REVISION, {"spec/origin": "Retraining"}),
        "belongs to origin Retraining",
    ),
    Case("another origin", _with(REVISION, {"spec/origin": "Import"})),
    Case("an image with a blank", _with(REVISION, {"spec/runtime/image": "a b"})),
    Case(
        "weights short of 100", _with(ROUTE, {"spec/revisions/1/weightPercent": 4}), "must sum to 100 percent"
    ),
    Case("weights over 100", _with(ROUTE, {"spec/revisions/1/weightPercent": 6}), "must sum to 100 percent"),
    Case("a route to nowhere", _with(ROUTE, {"spec/revisions": []})),
    Case("a revision routed twice", _with(ROUTE, {"spec/revisions/1/name": "wine-1a2b3c4d"})),
    Case("a route to port 0", _with(ROUTE, {"spec/revisions/0/port": 0})),
    Case(
        "a header with a lifetime",
        _with(FULL_ROUTE, {"spec/sticky/type": "Header"}),
        "belongs to type Cookie",
    ),
    Case(
        "a header of the gateway's own",
        _with(FULL_ROUTE, {"spec/sticky": {"type": "Header", "name": "X-Model-Revision", "salt": "s"}}),
        "the gateway drops or sets itself",
    ),
    Case(
        "a header that the gateway drops",
        _with(FULL_ROUTE, {"spec/sticky": {"type": "Header", "name": "x-envoy-user", "salt": "s"}}),
        "the gateway drops or sets itself",
    ),
    Case("no salt", _with(FULL_ROUTE, {"spec/sticky/salt": DROP})),
    Case("a salt that could be a format", _with(FULL_ROUTE, {"spec/sticky/salt": "%REQ(x)%"})),
    Case("a salt too long", _with(FULL_ROUTE, {"spec/sticky/salt": "s" * 65})),
    Case("a cookie's name with a blank", _with(FULL_ROUTE, {"spec/sticky/name": "a b"})),
    Case("a cookie of no time", _with(FULL_ROUTE, {"spec/sticky/ttl": "0s"}), "at least 1s"),
    Case(
        "a mirror to nowhere",
        _with(FULL_ROUTE, {"spec/mirror/revision": "beer-0"}),
        "mirror.revision must be the name of one of the revisions",
    ),
    Case("a mirror of nothing", _with(FULL_ROUTE, {"spec/mirror/percent": 0})),
    Case(
        "a preview of nothing",
        _with(FULL_ROUTE, {"spec/preview": "beer-0"}),
        "preview must be the name of one of the revisions",
    ),
    Case("a budget of nothing", _with(FULL_ROUTE, {"spec/latencyBudgetMs": 0})),
    Case("a budget of hours", _with(FULL_ROUTE, {"spec/latencyBudgetMs": 60_001})),
    Case("a route without time", _with(FULL_ROUTE, {"spec/limits/timeout": "10ms"}), "at least 1s"),
    Case("a route with all the time", _with(FULL_ROUTE, {"spec/limits/timeout": "61m"}), "longer than 1h"),
    Case("a body too small", _with(FULL_ROUTE, {"spec/limits/maxBody": "1023"}), "between 1Ki and 64Mi"),
    Case("a body too large", _with(FULL_ROUTE, {"spec/limits/maxBody": "65Mi"}), "between 1Ki and 64Mi"),
    Case("a report with a spec", _with(REPORT, {"spec": {}})),
    Case("a run without alarm", _with(RUN, {"spec/trigger/breachId": DROP})),
    Case("a champion elsewhere", _with(RUN, {"spec/championUri": "pvc://models/wine"})),
    Case("a runtime without role", _with(RUNTIME, {"spec/role": DROP})),
    Case("a runtime that runs as root's port", _with(RUNTIME, {"spec/port": 80})),
    Case("a pickle runtime", _with(RUNTIME, {"spec/formats": ["pickle"]})),
    Case("a variable's name with a dash", _with(CLUSTER_RUNTIME, {"spec/env/0/name": "OMP-NUM"})),
    Case(
        "a runtime's request over its limit",
        _with(CLUSTER_RUNTIME, {"spec/resources/limits": {"cpu": "5m"}}),
        "larger than its limit",
    ),
)

BAD = (*BAD_DEPLOYMENTS, *BAD_OTHERS)
