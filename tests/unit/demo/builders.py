"""Snapshots of a cluster, as the API server would give them."""

from datetime import UTC, datetime

from perennial_demo.cluster import parse_snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
DIGESTS = {"first": "a" * 64, "candidate": "b" * 64, "bad": "c" * 64}


def uri(which):
    return f"perennial://sha256:{DIGESTS[which]}"


def deployment(*, stable="f-1", phase="Healthy", weights=None, evidence=(), ready=True):
    weights = weights if weights is not None else {stable: 100}
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "flights", "namespace": "flights", "uid": "u", "generation": 1},
        "spec": {"model": {"uri": uri("first")}},
        "status": {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "reason": "Serving",
                    "lastTransitionTime": NOW,
                }
            ],
            "rollout": {
                "phase": phase,
                "stable": stable,
                "weights": [
                    {"revision": name, "weightPercent": w, "role": "Stable" if name == stable else "Canary"}
                    for name, w in weights.items()
                ],
                "evidence": list(evidence),
            },
        },
    }


def evidence(decision, *, canary=(200, 0), stable=(800, 0)):
    counts = [{"requests": requests, "errors": errors} for requests, errors in (canary, stable)]
    return {
        "time": NOW,
        "metric": "errors",
        "stepIndex": 1,
        "canary": counts[0],
        "stable": counts[1],
        "eValue": 0.5,
        "bound": 20.0,
        "decision": decision,
        "reason": "WithinLimits" if decision == "Successful" else "MaxRateExceeded",
    }


def revision(name, which, role, *, origin="Spec", evidence=()):
    digest = DIGESTS[which]
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "ModelRevision",
        "metadata": {"name": name, "namespace": "flights", "uid": name},
        "spec": {
            "deployment": "flights",
            "deploymentUid": "u",
            "model": {"uri": uri(which), "digest": f"sha256:{digest}", "shortDigest": digest[:12]},
            "runtime": {
                "kind": "ClusterModelRuntime",
                "name": "bentoml-skops",
                "image": "x:dev",
                "port": 3000,
            },
            "podTemplate": {},
            "origin": origin,
            **({"retrainingRun": "run-1"} if origin == "Retraining" else {}),
            "modelHash": "ab",
            "inputsHash": "cd",
        },
        "status": {"role": role, "evidence": list(evidence)},
    }


def run(phase, *, candidate=None):
    result = {
        "verdict": "Accepted" if phase == "Accepted" else "Refused",
        "reason": "ChallengerNoWorse" if phase == "Accepted" else "ChallengerWorse",
        "message": "roc_auc: candidate 0.7, champion 0.6",
        "championScore": 0.6,
        "challengerScore": 0.7,
    }
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "RetrainingRun",
        "metadata": {"name": "run-1", "namespace": "flights", "uid": "run-1"},
        "spec": {
            "deployment": "flights",
            "deploymentUid": "u",
            "trigger": {"monitor": "auc", "breachId": "auc-1"},
            "championRevision": "f-1",
            "championUri": uri("first"),
            "trainer": "refit",
        },
        "status": {
            "phase": phase,
            **({"result": result} if phase in {"Accepted", "Refused"} else {}),
            **({"candidateRevision": candidate} if candidate else {}),
        },
    }


def report(**states):
    types = {"drift": "Drift", "auc": "Performance", "outliers": "Outlier"}
    return {
        "apiVersion": "perennial.dev/v1alpha1",
        "kind": "MonitorReport",
        "metadata": {"name": "flights", "namespace": "flights", "uid": "r"},
        "status": {
            "monitors": [
                {
                    "name": name,
                    "type": types[name],
                    "state": state,
                    "message": f"{name} is {state}",
                    **({"breachId": f"{name}-1"} if state == "Alarm" else {}),
                }
                for name, state in states.items()
            ]
        },
    }


def snapshot(*items):
    return parse_snapshot(list(items), "flights")
