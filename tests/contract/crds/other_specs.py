"""Good and bad objects of the other kinds."""

from tests.contract.crds.table import API_VERSION, DIGEST, DROP, URI, Case, with_changes

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

GOOD_OTHERS = (
    Case("a revision from the spec", REVISION),
    Case(
        "a revision from a retraining",
        with_changes(
            REVISION, {"spec/origin": "Retraining", "spec/retrainingRun": "run-1", "spec/parent": "wine-0"}
        ),
    ),
    Case(
        "a revision of an experiment",
        with_changes(REVISION, {"spec/origin": "Experiment", "spec/variant": "challenger"}),
    ),
    Case("a revision that speaks gRPC", with_changes(REVISION, {"spec/runtime/grpcPort": 3001})),
    Case("a route of two revisions", ROUTE),
    Case("a route to gRPC as well", with_changes(ROUTE, {"spec/revisions/1/grpcPort": 3001})),
    Case("a runtime that speaks gRPC", with_changes(RUNTIME, {"spec/grpcPort": 3001})),
    Case("every field of a route", FULL_ROUTE),
    Case(
        "a route whose answers the gateway logs",
        with_changes(
            ROUTE, {"spec/revisions/0/log": {"mode": "Request", "percent": 5, "exclude": ["ssn", "name"]}}
        ),
    ),
    Case(
        "a route sticky by header",
        with_changes(FULL_ROUTE, {"spec/sticky": {"type": "Header", "name": "X-User-Id", "salt": "wine-3"}}),
    ),
    Case(
        "a place whose revision is gone",
        with_changes(
            FULL_ROUTE,
            {
                "spec/sticky/places": [
                    {"revision": "beer-0", "percent": 40},
                    {"revision": "wine-1a2b3c4d", "percent": 60},
                ]
            },
        ),
    ),
    Case("a route's body in bytes", with_changes(FULL_ROUTE, {"spec/limits": {"maxBody": 4096}})),
    Case("a report without verdicts", REPORT),
    Case("a run", RUN),
    Case("a runtime", RUNTIME),
    Case("every field of a cluster's runtime", CLUSTER_RUNTIME),
)

BAD_OTHERS = (
    Case(
        "a short digest that differs",
        with_changes(REVISION, {"spec/model/shortDigest": "0" * 12}),
        "first hex digits",
    ),
    Case(
        "a run of a revision from the spec",
        with_changes(REVISION, {"spec/retrainingRun": "r"}),
        "belongs to origin Retraining",
    ),
    Case(
        "no run of a retrained revision",
        with_changes(REVISION, {"spec/origin": "Retraining"}),
        "belongs to origin Retraining",
    ),
    Case(
        "a variant of a revision from the spec",
        with_changes(REVISION, {"spec/variant": "challenger"}),
        "variant belongs to origin Experiment",
    ),
    Case(
        "no variant of an experiment's revision",
        with_changes(REVISION, {"spec/origin": "Experiment"}),
        "variant belongs to origin Experiment",
    ),
    Case("another origin", with_changes(REVISION, {"spec/origin": "Import"})),
    Case("an image with a blank", with_changes(REVISION, {"spec/runtime/image": "a b"})),
    Case(
        "weights short of 100",
        with_changes(ROUTE, {"spec/revisions/1/weightPercent": 4}),
        "must sum to 100 percent",
    ),
    Case(
        "weights over 100",
        with_changes(ROUTE, {"spec/revisions/1/weightPercent": 6}),
        "must sum to 100 percent",
    ),
    Case("a route to nowhere", with_changes(ROUTE, {"spec/revisions": []})),
    Case("a revision routed twice", with_changes(ROUTE, {"spec/revisions/1/name": "wine-1a2b3c4d"})),
    Case("a log of nothing", with_changes(ROUTE, {"spec/revisions/0/log": {"percent": 0}})),
    Case("a column excluded twice", with_changes(ROUTE, {"spec/revisions/0/log": {"exclude": ["a", "a"]}})),
    Case("a route to gRPC's port 0", with_changes(ROUTE, {"spec/revisions/0/grpcPort": 0})),
    Case(
        "a runtime with HTTP and gRPC on one port",
        with_changes(RUNTIME, {"spec/grpcPort": 3000}),
        "a port of its own",
    ),
    Case("a route to port 0", with_changes(ROUTE, {"spec/revisions/0/port": 0})),
    Case(
        "a header with a lifetime",
        with_changes(FULL_ROUTE, {"spec/sticky/type": "Header"}),
        "belongs to type Cookie",
    ),
    Case(
        "a header of the gateway's own",
        with_changes(
            FULL_ROUTE, {"spec/sticky": {"type": "Header", "name": "X-Model-Revision", "salt": "s"}}
        ),
        "the gateway drops or sets itself",
    ),
    Case(
        "a header that the gateway drops",
        with_changes(FULL_ROUTE, {"spec/sticky": {"type": "Header", "name": "x-envoy-user", "salt": "s"}}),
        "the gateway drops or sets itself",
    ),
    Case("no salt", with_changes(FULL_ROUTE, {"spec/sticky/salt": DROP})),
    Case("a salt that could be a format", with_changes(FULL_ROUTE, {"spec/sticky/salt": "%REQ(x)%"})),
    Case("a salt too long", with_changes(FULL_ROUTE, {"spec/sticky/salt": "s" * 65})),
    Case("a cookie's name with a blank", with_changes(FULL_ROUTE, {"spec/sticky/name": "a b"})),
    Case(
        "places of some clients only",
        with_changes(FULL_ROUTE, {"spec/sticky/places": [{"revision": "wine-1a2b3c4d", "percent": 99}]}),
        "places must sum to 100",
    ),
    Case(
        "a last place of nobody",
        with_changes(FULL_ROUTE, {"spec/sticky/places": [{"revision": "beer-0", "percent": 100}]}),
        "it serves what the others don't",
    ),
    Case("a cookie of no time", with_changes(FULL_ROUTE, {"spec/sticky/ttl": "0s"}), "at least 1s"),
    Case(
        "a mirror to nowhere",
        with_changes(FULL_ROUTE, {"spec/mirror/revision": "beer-0"}),
        "mirror.revision must be the name of one of the revisions",
    ),
    Case("a mirror of nothing", with_changes(FULL_ROUTE, {"spec/mirror/percent": 0})),
    Case(
        "a preview of nothing",
        with_changes(FULL_ROUTE, {"spec/preview": "beer-0"}),
        "preview must be the name of one of the revisions",
    ),
    Case("a budget of nothing", with_changes(FULL_ROUTE, {"spec/latencyBudgetMs": 0})),
    Case("a budget of hours", with_changes(FULL_ROUTE, {"spec/latencyBudgetMs": 60_001})),
    Case("a route without time", with_changes(FULL_ROUTE, {"spec/limits/timeout": "10ms"}), "at least 1s"),
    Case(
        "a route with all the time",
        with_changes(FULL_ROUTE, {"spec/limits/timeout": "6m"}),
        "longer than 5m",
    ),
    Case(
        "a body too small", with_changes(FULL_ROUTE, {"spec/limits/maxBody": "1023"}), "between 1Ki and 64Mi"
    ),
    Case(
        "a body too large", with_changes(FULL_ROUTE, {"spec/limits/maxBody": "65Mi"}), "between 1Ki and 64Mi"
    ),
    Case("a report with a spec", with_changes(REPORT, {"spec": {}})),
    Case("a run without alarm", with_changes(RUN, {"spec/trigger/breachId": DROP})),
    Case("a champion elsewhere", with_changes(RUN, {"spec/championUri": "pvc://models/wine"})),
    Case("a runtime without role", with_changes(RUNTIME, {"spec/role": DROP})),
    Case("a runtime with gRPC on root's port", with_changes(RUNTIME, {"spec/grpcPort": 80})),
    Case("a runtime that runs as root's port", with_changes(RUNTIME, {"spec/port": 80})),
    Case("a pickle runtime", with_changes(RUNTIME, {"spec/formats": ["pickle"]})),
    Case("a variable's name with a dash", with_changes(CLUSTER_RUNTIME, {"spec/env/0/name": "OMP-NUM"})),
    Case(
        "a runtime's request over its limit",
        with_changes(CLUSTER_RUNTIME, {"spec/resources/limits": {"cpu": "5m"}}),
        "larger than its limit",
    ),
)
