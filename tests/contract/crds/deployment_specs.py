"""Good and bad deployments, but for their rollouts and experiments."""

from tests.contract.crds.table import (
    DIGEST,
    DROP,
    FULL,
    MINIMAL,
    MONITORS,
    OTHER_DIGEST,
    PVC,
    S3,
    Case,
    bad_deployment,
    with_changes,
)

DRIFT = {"name": "drift", "type": "Drift"}
PERFORMANCE = {"name": "right", "type": "Performance", "performance": {"metric": "accuracy", "min": 0.9}}

OWN = {"name": "drift", "type": "Custom"}
SERVICE_LEVEL = {
    "name": "slo",
    "type": "ServiceLevel",
    "serviceLevel": {"availability": 0.999, "latency": {"objective": 0.95}, "minRequests": 500},
}

GOOD_DEPLOYMENTS = (
    Case("the least of a deployment", MINIMAL),
    Case("every field of a deployment", FULL),
    Case("a pinned model on a volume", with_changes(MINIMAL, {"spec/model": PVC})),
    Case("a private bucket", with_changes(MINIMAL, {"spec/model": S3})),
    Case(
        "a public folder", with_changes(MINIMAL, {"spec/model": {"uri": "gs://models/v3/", "sha256": DIGEST}})
    ),
    Case("a container", with_changes(MINIMAL, {"spec/model": {**S3, "uri": "az://models/wine/v3"}})),
    Case(
        "a web server",
        with_changes(MINIMAL, {"spec/model": {**S3, "uri": "https://example.com:8443/v3.tar"}}),
    ),
    Case("a name of 40 characters", with_changes(MINIMAL, {"metadata/name": "w" * 40})),
    Case("no log and no monitors", with_changes(MINIMAL, {"spec/logger": {"mode": "None"}})),
    Case(
        "inputs alone, for monitors of inputs",
        with_changes(
            MINIMAL,
            {
                "spec/logger": {"mode": "Request"},
                "spec/monitoring": {"monitors": [DRIFT]},
            },
        ),
    ),
    Case(
        "a share of the outputs, for labels and a sink",
        with_changes(
            MINIMAL,
            {
                "spec/logger": {
                    "mode": "Response",
                    "percent": 10,
                    "sink": {"url": "https://broker.events:8443/predictions?tenant=shop"},
                },
                "spec/monitoring": {"monitors": [PERFORMANCE]},
            },
        ),
    ),
    Case(
        "a service level beside a latency budget",
        with_changes(
            MINIMAL,
            {
                "spec/server": {"latencyBudget": "50ms"},
                "spec/monitoring": {"monitors": [with_changes(SERVICE_LEVEL, {"severity": "Page"})]},
            },
        ),
    ),
    Case("a days-and-hours duration", with_changes(FULL, {"spec/retraining/data/gap": "1d12h"})),
)

BAD_DEPLOYMENTS = (
    bad_deployment("an unknown field", {"spec/canary": {}}),
    bad_deployment("an unknown field deep down", {"spec/rollout/analysis/window": "5m"}),
    bad_deployment("no model", {"spec/model": DROP}),
    bad_deployment("no uri", {"spec/model/uri": DROP}),
    bad_deployment("another scheme", {"spec/model": {**PVC, "uri": "ftp://bucket/wine"}}, "uri must be"),
    bad_deployment(
        "a web server in the clear", {"spec/model": {**PVC, "uri": "http://a.b/w.tar"}}, "uri must be"
    ),
    bad_deployment("a path of the node", {"spec/model": {**PVC, "uri": "file:///etc/passwd"}}, "uri must be"),
    bad_deployment("a bucket without a path", {"spec/model": {**S3, "uri": "s3://models"}}, "uri must be"),
    bad_deployment("a password in the open", {"spec/model": {**S3, "uri": "https://a:b@example.com/w.tar"}}),
    bad_deployment(
        "a signature in the open", {"spec/model": {**S3, "uri": "https://example.com/w.tar?sig=1"}}
    ),
    bad_deployment("a short digest", {"spec/model": {"uri": "perennial://sha256:9f2c"}}, "uri must be"),
    bad_deployment(
        "a path that climbs", {"spec/model": {**PVC, "uri": "pvc://models/../../etc"}}, "uri must be"
    ),
    bad_deployment("a key that climbs", {"spec/model": {**S3, "uri": "s3://models/../etc"}}, "uri must be"),
    bad_deployment("an unpinned volume", {"spec/model": {"uri": PVC["uri"]}}, "needs sha256", MINIMAL),
    bad_deployment("an unpinned bucket", {"spec/model": {"uri": S3["uri"]}}, "needs sha256", MINIMAL),
    bad_deployment(
        "a Secret that nobody needs",
        {"spec/model/secretRef": {"name": "wine-s3"}},
        "secretRef belongs to",
        MINIMAL,
    ),
    bad_deployment(
        "a container of no account",
        {"spec/model": {"uri": "az://models/v3", "sha256": DIGEST}},
        "needs secretRef",
        MINIMAL,
    ),
    bad_deployment("two digests", {"spec/model/sha256": OTHER_DIGEST}, "sha256 differs"),
    bad_deployment("a name too long", {"metadata/name": "w" * 41}, "longer than 40 characters"),
    bad_deployment("a name that begins with a digit", {"metadata/name": "1wine"}, "begin with a letter"),
    bad_deployment("a name with a dot", {"metadata/name": "wine.red"}, "begin with a letter"),
    bad_deployment("no replicas", {"spec/server/minReplicas": 0}),
    bad_deployment("replicas as text", {"spec/server/minReplicas": "2"}),
    bad_deployment("replicas as truth", {"spec/server/minReplicas": True}),
    bad_deployment("a quantity without number", {"spec/server/resources/requests/cpu": "much"}),
    bad_deployment(
        "a misspelled resource", {"spec/server/resources/requests/memroy": "1Gi"}, "correct the name"
    ),
    bad_deployment(
        "a request over its limit", {"spec/server/resources/requests/memory": "2Gi"}, "larger than its limit"
    ),
    bad_deployment(
        "a whole request over its limit", {"spec/server/resources/requests/cpu": 3}, "larger than its limit"
    ),
    bad_deployment(
        "a value that Exists ignores", {"spec/server/tolerations/0/value": "x"}, "Exists takes no value"
    ),
    bad_deployment("a toleration of nothing", {"spec/server/tolerations/0": {}}, "tolerates every taint"),
    bad_deployment(
        "seconds without NoExecute",
        {"spec/server/tolerations/2/tolerationSeconds": 5},
        "tolerationSeconds needs effect NoExecute",
    ),
    bad_deployment("a pull secret twice", {"spec/server/imagePullSecrets": [{"name": "a"}, {"name": "a"}]}),
    bad_deployment("half a log", {"spec/logger/mode": "Some"}),
    bad_deployment("a column excluded twice", {"spec/logger/exclude": ["ssn", "ssn"]}),
    bad_deployment(
        "monitors without log",
        {"spec/logger": {"mode": "None"}, "spec/monitoring": {"monitors": [DRIFT]}},
        "DataQuality and Custom, and slices, read logged inputs",
        MINIMAL,
    ),
    bad_deployment(
        "drift without inputs",
        {"spec/logger/mode": "Response", "spec/retraining": DROP},
        "DataQuality and Custom, and slices, read logged inputs",
    ),
    bad_deployment(
        "performance without outputs",
        {"spec/logger": {"mode": "Request"}, "spec/monitoring": {"monitors": [PERFORMANCE]}},
        "and of performance read logged outputs",
        MINIMAL,
    ),
    bad_deployment("retraining without inputs", {"spec/logger/mode": "Response"}, "retraining learns from"),
    bad_deployment(
        "an event time without inputs",
        {
            "spec/logger": {"mode": "Response"},
            "spec/monitoring": {"eventTime": "time_hour"},
        },
        "monitoring.eventTime is read from logged inputs",
        MINIMAL,
    ),
    bad_deployment("no share of the log", {"spec/logger/percent": 0}),
    bad_deployment("more than all of the log", {"spec/logger/percent": 101}),
    bad_deployment("half a percent of the log", {"spec/logger/percent": 0.5}),
    *(
        bad_deployment(f"a sink at {url}", {"spec/logger/sink": {"url": url}}, "sink.url must be http://")
        for url in (
            "ftp://broker/predictions",
            "http:///predictions",
            "http://user:secret@broker/predictions",
            "http://broker/two words",
        )
    ),
    bad_deployment("a sink without address", {"spec/logger/sink": {}}),
    bad_deployment(
        "a sink of nothing",
        {"spec/logger": {"mode": "None", "sink": {"url": "http://broker/"}}},
        "None lets nothing",
        MINIMAL,
    ),
    bad_deployment("the event time excluded", {"spec/logger/exclude": ["time_hour"]}, "remove that column"),
    bad_deployment(
        "a window never judged", {"spec/monitoring/defaults/window/minSamples": 1001}, "no window could ever"
    ),
    bad_deployment(
        "a window never judged for want of defaults",
        {f"{MONITORS}/0/window": {"size": 100}},
        "no window could ever",
    ),
    bad_deployment(
        "an alarm never raised", {"spec/monitoring/defaults/alarm/breaches": 4}, "never be raised"
    ),
    bad_deployment(
        "an alarm of more windows than chance is computed for",
        {"spec/monitoring/defaults/alarm/of": 9},
        "less than or equal to 8",
    ),
    bad_deployment("hourly false alarms", {"spec/monitoring/defaults/falseAlarmEvery": "59m"}, "at least 1h"),
    bad_deployment(
        "a service level with windows of rows",
        {f"{MONITORS}/0": with_changes(SERVICE_LEVEL, {"name": "drift", "window": {"size": 1000}})},
        "has windows of its own",
    ),
    bad_deployment(
        "a service level of some rows",
        {
            "spec/monitoring/slices": [{"name": "new", "where": "tenure < 30"}],
            f"{MONITORS}/0": with_changes(SERVICE_LEVEL, {"name": "drift", "slice": "new"}),
        },
        "remove slice",
    ),
    bad_deployment(
        "a promise of latency without a budget",
        {"spec/monitoring": {"monitors": [SERVICE_LEVEL]}},
        "requests above server.latencyBudget",
        MINIMAL,
    ),
    bad_deployment(
        "a service level that promises nothing",
        {
            "spec/monitoring": {
                "monitors": [{"name": "slo", "type": "ServiceLevel", "serviceLevel": {"minRequests": 50}}]
            }
        },
        "say what is promised",
        MINIMAL,
    ),
    *(
        bad_deployment(f"a number of one's own {what}", {f"{MONITORS}/0": {**OWN, "custom": custom}}, says)
        for what, custom, says in (
            ("from nowhere", {"max": 1}, "who computes the number"),
            (
                "from two places",
                {"url": "http://checks.shop", "entryPoint": "shop:mean", "max": 1},
                "who computes the number",
            ),
            ("without bounds", {"url": "http://checks.shop"}, "which values are good"),
            ("that is never good", {"url": "http://checks.shop", "min": 2, "max": 1}, "no value would be"),
            ("that takes long", {"url": "http://checks.shop", "max": 1, "timeout": "61s"}, "above 1m"),
        )
    ),
    *(
        bad_deployment(
            f"a slice's {what}",
            {
                "spec/monitoring/slices": [{"name": "new", "where": "tenure < 30"}],
                f"{MONITORS}/0": {
                    "name": "drift",
                    "type": "DataQuality",
                    "slice": "new",
                    "dataQuality": quality,
                },
            },
            "count all rows",
        )
        for what, quality in (("volume", {"minPerHour": 10}), ("silence", {"maxSilence": "1h"}))
    ),
    bad_deployment("a monitor twice", {f"{MONITORS}/1/name": "drift"}),
    bad_deployment("a monitor without type", {f"{MONITORS}/0/type": DROP}),
    bad_deployment("another monitor", {f"{MONITORS}/0/type": "DataQuality"}),
    bad_deployment("another detector", {f"{MONITORS}/0/drift/detector": "Wasserstein"}),
    bad_deployment(
        "a detector of the other engine",
        {f"{MONITORS}/0/drift": {"detector": "MMD", "engine": "AlibiDetect"}},
        "leave engine out",
    ),
    bad_deployment(
        "a regression's estimate for classes",
        {
            f"{MONITORS}/0": {
                "name": "drift",
                "type": "EstimatedPerformance",
                "estimatedPerformance": {"method": "DLE", "metric": "accuracy", "min": 0.8},
            }
        },
        "choose a metric of the method",
    ),
    bad_deployment(
        "a reference from a log without its stretch",
        {"spec/monitoring/reference": {"source": "Log"}},
        "Bundle takes neither",
    ),
    bad_deployment(
        "a reference that ends before it begins",
        {
            "spec/monitoring/reference": {
                "source": "Log",
                "log": {"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
            }
        },
        "log.since must be before",
    ),
    bad_deployment(
        "a reference from the web",
        {
            "spec/monitoring/reference": {
                "source": "Uri",
                "uri": {"uri": "https://example.org/reference.parquet", "sha256": 64 * "a"},
            }
        },
    ),
    bad_deployment("a member of another type", {f"{MONITORS}/0/type": "Outlier"}, "must fit the type"),
    bad_deployment("performance of nothing", {f"{MONITORS}/2/performance": DROP}, "must fit the type"),
    bad_deployment(
        "outliers that are usual",
        {f"{MONITORS}/1/outlier/maxRate": 0.01},
        "larger than outlier.contamination",
    ),
    bad_deployment("performance without bound", {f"{MONITORS}/2/performance/min": DROP}, "exactly one bound"),
    bad_deployment("performance with two bounds", {f"{MONITORS}/2/performance/max": 1}, "exactly one bound"),
    bad_deployment(
        "a score with max", {f"{MONITORS}/2/performance": {"metric": "f1", "max": 0.5}}, "losses and take max"
    ),
    bad_deployment(
        "a loss with min", {f"{MONITORS}/3/performance": {"metric": "mae", "min": 0.5}}, "losses and take max"
    ),
    bad_deployment("an unknown performance metric", {f"{MONITORS}/2/performance/metric": "auc"}),
    bad_deployment("coverage in percent", {f"{MONITORS}/2/performance/labels/minCoverage": 60}),
    bad_deployment("retraining without triggers", {"spec/retraining/triggers": []}),
    bad_deployment("the same trigger twice", {"spec/retraining/triggers/1/monitor": "auc"}),
    bad_deployment(
        "a trigger that isn't watched",
        {"spec/retraining/triggers/0/monitor": "accuracy"},
        "may name only monitors",
    ),
    bad_deployment(
        "a blocker that isn't watched", {"spec/retraining/blockOn": ["quality"]}, "may name only monitors"
    ),
    bad_deployment(
        "a trigger that blocks itself", {"spec/retraining/blockOn": ["drift"]}, "can't be a trigger too"
    ),
    bad_deployment(
        "retraining off a volume", {"spec/model": PVC}, "retraining needs a model in the bundle store"
    ),
    bad_deployment(
        "a cooldown over its maximum", {"spec/retraining/cooldown/base": "8d"}, "raise max or lower base"
    ),
    bad_deployment("a backoff that shrinks", {"spec/retraining/cooldown/backoff": 0.5}),
    bad_deployment("nothing left to train on", {"spec/retraining/data/window": "21d"}, "no row is left"),
    bad_deployment("base data elsewhere", {"spec/retraining/data/base/uri": "s3://bucket/rows.parquet"}),
    bad_deployment("other weights", {"spec/retraining/data/weights/type": "Exponential"}),
    bad_deployment("no age", {"spec/retraining/data/weights/tau": "0s"}, "at least 1s"),
    bad_deployment("promotion by hand", {"spec/retraining/promotion": "Manual"}),
    bad_deployment("suspend as text", {"spec/retraining/suspend": "yes"}),
    bad_deployment("no history", {"spec/revisionHistoryLimit": 0}),
)
