"""Good and bad rollouts, analyses and ways to scale."""

from tests.contract.crds.table import (
    ANALYSIS,
    DROP,
    FULL,
    METRICS,
    MINIMAL,
    STEPS,
    Case,
    bad_deployment,
    with_changes,
)

BLUE_GREEN = with_changes(
    MINIMAL,
    {
        "spec/rollout": {
            "type": "BlueGreen",
            "blueGreen": {"preview": "5m", "autoPromotion": False, "keep": "1h"},
        }
    },
)
PROMETHEUS = {"address": "https://prometheus.example", "query": "vector(1)", "max": 1}
SCALED = {"maxReplicas": 4, "scaleMetric": "Rps", "scaleTarget": 200}

GOOD_ROLLOUTS = (
    Case("every field of a blue-green rollout", BLUE_GREEN),
    Case("a blue-green rollout of defaults", with_changes(BLUE_GREEN, {"spec/rollout/blueGreen": DROP})),
    Case("an immediate rollout", with_changes(MINIMAL, {"spec/rollout": {"type": "Immediate"}})),
    Case("a canary without steps", with_changes(MINIMAL, {"spec/rollout": {"canary": {"steps": []}}})),
    Case(
        "steps that end at 100",
        with_changes(
            FULL, {STEPS: [{"setWeight": 20}, {"analysis": {"duration": "1s"}}, {"setWeight": 100}]}
        ),
    ),
    Case(
        "a shadow, then all of it",
        with_changes(FULL, {STEPS: [{"setMirror": {"percent": 100, "duration": "1m"}}, {"setWeight": 100}]}),
    ),
    Case("only pauses", with_changes(FULL, {STEPS: [{"pause": {}}, {"analysis": {"duration": "1m"}}]})),
    Case("milliseconds", with_changes(FULL, {f"{ANALYSIS}/initialDelay": "500ms"})),
    Case(
        "requests refused for their content",
        with_changes(FULL, {METRICS: [{"name": "refused", "type": "InvalidRate", "maxRate": 0.05}]}),
    ),
    Case(
        "one bound on a number",
        with_changes(FULL, {METRICS: [{"name": "load", "type": "Prometheus", "prometheus": PROMETHEUS}]}),
    ),
    Case("labels as late as the bake", with_changes(FULL, {f"{METRICS}/3/feedback/maturity": "5m"})),
    Case("pods that follow requests a second", with_changes(MINIMAL, {"spec/server": SCALED})),
    Case(
        "pods that follow the processor",
        with_changes(MINIMAL, {"spec/server": {**SCALED, "scaleMetric": "Cpu", "scaleTarget": 80}}),
    ),
    Case(
        "scores of odd rows", with_changes(MINIMAL, {"spec/server": {"outlierScores": {"detector": "KNN"}}})
    ),
    Case(
        "pods that follow memory, within one",
        with_changes(MINIMAL, {"spec/server": {**SCALED, "maxReplicas": 1, "scaleMetric": "Memory"}}),
    ),
)

BAD_ROLLOUTS = (
    bad_deployment("another rollout", {"spec/rollout/type": "Rolling"}),
    bad_deployment("a weight over 100", {STEPS: [{"setWeight": 101}]}),
    bad_deployment("a weight of zero", {STEPS: [{"setWeight": 0}]}),
    bad_deployment("half a percent", {STEPS: [{"setWeight": 0.5}]}),
    bad_deployment("steps that go down", {STEPS: [{"setWeight": 50}, {"setWeight": 5}]}, "may not fall"),
    bad_deployment(
        "steps that go down after a pause",
        {STEPS: [{"setWeight": 50}, {"pause": {"duration": "1m"}}, {"setWeight": 49}]},
        "may not fall",
    ),
    bad_deployment("an empty step", {STEPS: [{}]}, "exactly one key"),
    bad_deployment(
        "a step of two", {STEPS: [{"setWeight": 5, "pause": {"duration": "1m"}}]}, "exactly one key"
    ),
    bad_deployment("a pause of nothing", {STEPS: [{"pause": {"duration": "0s"}}]}, "at least 1s"),
    bad_deployment("too many steps", {STEPS: [{"setWeight": 5}] * 21}),
    bad_deployment("a duration without unit", {f"{ANALYSIS}/bake": "5"}),
    bad_deployment("a duration as number", {f"{ANALYSIS}/bake": 5}),
    bad_deployment("a broken duration", {f"{ANALYSIS}/bake": "1.5h"}),
    bad_deployment("a negative duration", {f"{ANALYSIS}/bake": "-5m"}),
    bad_deployment("units out of order", {f"{ANALYSIS}/bake": "5m1h"}),
    bad_deployment("no interval", {f"{ANALYSIS}/interval": "0s"}, "at least 1s"),
    bad_deployment("a rash deadline", {f"{ANALYSIS}/progressDeadline": "59s"}, "at least 1m"),
    bad_deployment("no metrics", {f"{METRICS}": []}),
    bad_deployment("a metric twice", {f"{METRICS}/1/name": "errors"}),
    bad_deployment("an unknown metric", {f"{METRICS}/0/type": "Latency"}),
    bad_deployment("a ratio below one", {f"{METRICS}/0/maxRatio": 0.9}),
    bad_deployment("a rate of one", {f"{METRICS}/0/maxRate": 1}),
    bad_deployment("a rate of zero", {f"{METRICS}/0/maxRate": 0}),
    bad_deployment("another end", {f"{ANALYSIS}/onInconclusive": "Wait"}),
    bad_deployment(
        "steps after the end",
        {STEPS: [{"setWeight": 100}, {"pause": {"duration": "1m"}}]},
        "setWeight 100 ends the rollout",
    ),
    bad_deployment(
        "an end twice", {STEPS: [{"setWeight": 100}, {"setWeight": 100}]}, "setWeight 100 ends the rollout"
    ),
    bad_deployment("no time to look", {STEPS: [{"analysis": {}}]}),
    bad_deployment("a look of nothing", {STEPS: [{"analysis": {"duration": "0s"}}]}, "at least 1s"),
    bad_deployment("a mirror without end", {STEPS: [{"setMirror": {"percent": 100}}]}),
    bad_deployment("copies of nothing", {STEPS: [{"setMirror": {"percent": 0, "duration": "1m"}}]}),
    bad_deployment("more copies than requests", {STEPS: [{"setMirror": {"percent": 101, "duration": "1m"}}]}),
    bad_deployment(
        "copies for one that answers",
        {STEPS: [{"setWeight": 5}, {"setMirror": {"percent": 100, "duration": "1m"}}]},
        "setMirror comes before the first setWeight",
    ),
    bad_deployment(
        "blue and green on a canary",
        {"spec/rollout/type": "Canary"},
        "blueGreen belongs to type BlueGreen",
        BLUE_GREEN,
    ),
    bad_deployment(
        "blue and green at once",
        {"spec/rollout/type": "Immediate"},
        "blueGreen belongs to type BlueGreen",
        BLUE_GREEN,
    ),
    bad_deployment("a preview without unit", {"spec/rollout/blueGreen/preview": "5"}, "", BLUE_GREEN),
    bad_deployment("promotion as text", {"spec/rollout/blueGreen/autoPromotion": "no"}, "", BLUE_GREEN),
    bad_deployment("a delay back in time", {"spec/rollout/scaleDownDelay": "-1s"}),
    bad_deployment(
        "a number's metric without number",
        {f"{METRICS}/4/prometheus": DROP},
        "prometheus if its type is Prometheus",
    ),
    bad_deployment(
        "a number on another metric",
        {f"{METRICS}/0/prometheus": PROMETHEUS},
        "prometheus if its type is Prometheus",
    ),
    bad_deployment(
        "a number without bounds",
        {f"{METRICS}/4/prometheus": {"address": "http://prometheus:9090", "query": "vector(1)"}},
        "say which values are good",
    ),
    bad_deployment(
        "bounds that cross", {f"{METRICS}/4/prometheus/min": 13}, "prometheus.min is above prometheus.max"
    ),
    bad_deployment(
        "a number with a rate", {f"{METRICS}/4/maxRate": 0.1}, "bounded by prometheus.min and prometheus.max"
    ),
    bad_deployment(
        "a number with a ratio", {f"{METRICS}/4/maxRatio": 2}, "bounded by prometheus.min and prometheus.max"
    ),
    bad_deployment(
        "an address with a path", {f"{METRICS}/4/prometheus/address": "http://prometheus:9090/api/v1"}
    ),
    bad_deployment(
        "an address with a password", {f"{METRICS}/4/prometheus/address": "http://me:word@prometheus:9090"}
    ),
    bad_deployment("an empty query", {f"{METRICS}/4/prometheus/query": ""}),
    bad_deployment("an endless query", {f"{METRICS}/4/prometheus/query": "1" * 2049}),
    bad_deployment("labels of nothing", {f"{METRICS}/3/feedback": DROP}, "feedback if its type is Feedback"),
    bad_deployment(
        "labels on another metric",
        {f"{METRICS}/0/feedback": {"maturity": "1s"}},
        "feedback if its type is Feedback",
    ),
    bad_deployment(
        "labels after the decision",
        {f"{METRICS}/3/feedback/maturity": "301s"},
        "bake is shorter than a feedback.maturity",
    ),
    bad_deployment("labels at once", {f"{METRICS}/3/feedback/maturity": "0s"}, "at least 1s"),
    bad_deployment(
        "six metrics", {METRICS: [{"name": f"errors-{n}", "type": "ErrorRate"} for n in range(6)]}
    ),
    bad_deployment("a dry run as text", {f"{METRICS}/0/dryRun": "true"}),
    bad_deployment("slow against no budget", {"spec/server/latencyBudget": DROP}, "set that, such as 50ms"),
    bad_deployment(
        "outliers that nobody flags",
        {"spec/monitoring/monitors": [], "spec/retraining": DROP},
        "counts what an Outlier monitor flags",
    ),
    bad_deployment(
        "labels without log",
        {
            "spec/logger": {"mode": "None"},
            "spec/monitoring": DROP,
            "spec/retraining": DROP,
            f"{METRICS}/2": DROP,
        },
        "labels and shadow answers are matched with the prediction log",
    ),
    bad_deployment("a budget of no time", {"spec/server/latencyBudget": "0s"}, "at least 1ms"),
    bad_deployment("a shrug at slowness", {"spec/server/onTooSlow": "Ignore"}),
    bad_deployment("no time to answer", {"spec/server/requestTimeout": "0s"}, "at least 1s"),
    bad_deployment("an answer after lunch", {"spec/server/requestTimeout": "5m1s"}, "longer than 5m"),
    bad_deployment("a body of nothing", {"spec/server/maxRequestSize": "1"}, "between 1Ki and 64Mi"),
    bad_deployment("a body of a gigabyte", {"spec/server/maxRequestSize": "1Gi"}, "between 1Ki and 64Mi"),
    bad_deployment("a budget of minutes", {"spec/server/latencyBudget": "2m"}, "longer than 60s"),
    bad_deployment("a size without number", {"spec/server/maxRequestSize": "large"}),
    bad_deployment(
        "fewer than the fewest", {"spec/server/maxReplicas": 1}, "maxReplicas is below minReplicas"
    ),
    bad_deployment("pods that follow nothing", {"spec/server/scaleMetric": DROP}, "belong together"),
    bad_deployment("pods with no target", {"spec/server/scaleTarget": DROP}, "belong together"),
    bad_deployment("pods without end", {"spec/server/maxReplicas": DROP}, "belong together"),
    bad_deployment("pods that follow the moon", {"spec/server/scaleMetric": "Gpu"}),
    bad_deployment("a target of nothing", {"spec/server/scaleTarget": 0}),
)
