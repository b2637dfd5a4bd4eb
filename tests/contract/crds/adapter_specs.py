"""Good and bad runtimes whose model is in their own image, and the deployments that serve it."""

from tests.contract.crds.other_specs import RUNTIME
from tests.contract.crds.table import DIGEST, DROP, FULL, MINIMAL, S3, Case, bad_deployment, with_changes

ADAPTER = {
    "port": 8000,
    "inputs": [{"name": "wind", "datatype": "FP64"}],
    "outputs": [{"name": "probability", "datatype": "FP64"}],
}
FULL_ADAPTER = {
    "runtime": "bentoml-skops",
    "port": 8000,
    "path": "/v1/predict",
    "request": {"shape": "Rows", "field": "rows"},
    "response": {"shape": "List", "field": "predictions"},
    "readyPath": "/readyz",
    "timeout": "2s",
    "inputs": [
        {
            "name": "Wind.Speed",
            "datatype": "FP64",
            "minimum": 0,
            "maximum": 99.5,
            "outOfRange": "Reject",
            "missing": "Pass",
        },
        {
            "name": "carrier",
            "datatype": "BYTES",
            "categories": ["AA", "UA"],
            "unknownCategory": "Reject",
        },
        {"name": "when", "datatype": "BYTES", "role": "EventTime"},
        {"name": "tail", "datatype": "BYTES", "role": "Passthrough"},
    ],
    "outputs": [{"name": "probability", "datatype": "FP64"}],
}
OWN_IMAGE = with_changes(RUNTIME, {"spec/formats": ["container"], "spec/adapter": ADAPTER})
FULL_OWN_IMAGE = with_changes(
    RUNTIME, {"spec/formats": ["bento"], "spec/grpcPort": 3001, "spec/adapter": FULL_ADAPTER}
)
IN_IMAGE = {"uri": "runtime://v1.2"}

GOOD_ADAPTERS = (
    Case("the least of an image with an adapter", OWN_IMAGE),
    Case("every field of an adapter", FULL_OWN_IMAGE),
    Case(
        "an image that speaks the protocol itself",
        with_changes(RUNTIME, {"spec/formats": ["container"], "spec/loggedBy": "Gateway"}),
    ),
    Case("a server of others for bundles", with_changes(RUNTIME, {"spec/loggedBy": "Gateway"})),
    Case("a model in an image", with_changes(MINIMAL, {"spec/model": IN_IMAGE})),
)


def bad_adapter(name: str, changes: dict[str, object], says: str = "") -> Case:
    return Case(name, with_changes(FULL_OWN_IMAGE, {f"spec/{k}": v for k, v in changes.items()}), says)


BAD_ADAPTERS = (
    Case("an image without adapter", with_changes(RUNTIME, {"spec/formats": ["bento"]}), "need adapter"),
    Case(
        "a bundle's runtime with an adapter", with_changes(RUNTIME, {"spec/adapter": ADAPTER}), "need adapter"
    ),
    Case(
        "bundles and an image that speaks the protocol itself",
        with_changes(RUNTIME, {"spec/formats": ["container", "skops"], "spec/loggedBy": "Gateway"}),
        "aren't mixed",
    ),
    Case(
        "gRPC that nobody logs",
        with_changes(RUNTIME, {"spec/grpcPort": 3001, "spec/loggedBy": "Gateway"}),
        "nothing of gRPC",
    ),
    Case(
        "a trainer's log",
        with_changes(RUNTIME, {"spec/role": "Trainer", "spec/loggedBy": "Gateway"}),
        "answers no requests",
    ),
    Case("nobody's log", with_changes(RUNTIME, {"spec/loggedBy": "Nobody"})),
    bad_adapter("two that log", {"loggedBy": "Gateway", "grpcPort": DROP}, "remove one of them"),
    bad_adapter("bundles and an image", {"formats": ["container", "skops"]}, "need adapter"),
    bad_adapter("an adapter that trains", {"role": "Trainer"}, "belongs to role Server"),
    bad_adapter("the image on the server's port", {"adapter/port": 3000}, "give port or grpcPort"),
    bad_adapter("the image on the port of gRPC", {"adapter/port": 3001}, "give port or grpcPort"),
    bad_adapter("a range of strings", {"adapter/inputs/1/minimum": 1}, "belong to a number"),
    bad_adapter("a range upside down", {"adapter/inputs/0/minimum": 100}, "minimum is above maximum"),
    bad_adapter("categories of numbers", {"adapter/inputs/0/categories": ["1"]}, "belong to datatype BYTES"),
    bad_adapter(
        "no range to refuse by", {"adapter/inputs/1/outOfRange": "Reject"}, "needs minimum or maximum"
    ),
    bad_adapter(
        "no categories to refuse by", {"adapter/inputs/2/unknownCategory": "Reject"}, "needs categories"
    ),
    bad_adapter("a column of Perennial's own", {"adapter/inputs/0/name": "__id"}, "two underscores"),
    bad_adapter(
        "a model without features",
        {"adapter/inputs/0/role": "Passthrough", "adapter/inputs/1/role": "Passthrough"},
        "has no Feature",
    ),
    bad_adapter("two event times", {"adapter/inputs/3/role": "EventTime"}, "more than one EventTime"),
    bad_adapter(
        "a list of two outputs",
        {"adapter/outputs": [{"name": n, "datatype": "FP64"} for n in ("predict", "probability")]},
        "response.shape List",
    ),
    bad_adapter("an endless call", {"adapter/timeout": "1h"}, "longer than 5m"),
    bad_adapter("a call without time", {"adapter/timeout": "1ms"}),
    bad_adapter("a path of another server", {"adapter/path": "http://elsewhere/predict"}),
    bad_adapter("two inputs of one name", {"adapter/inputs/1/name": "Wind.Speed"}),
    bad_adapter("an unheard-of datatype", {"adapter/inputs/0/datatype": "FP16"}),
    bad_adapter("an imputing adapter", {"adapter/inputs/0/missing": "Impute"}),
    bad_deployment("an image with a digest", {"spec/model": {**IN_IMAGE, "sha256": DIGEST}}, "has no bundle"),
    bad_deployment(
        "an image with a store's Secret",
        {"spec/model": {**IN_IMAGE, "secretRef": S3["secretRef"]}},
        "secretRef belongs to",
        MINIMAL,
    ),
    bad_deployment(
        "a label like a path", {"spec/model": {"uri": "runtime://v1/../x"}}, "uri must be", MINIMAL
    ),
    bad_deployment("an image without a label", {"spec/model": {"uri": "runtime://"}}, base=MINIMAL),
    bad_deployment(
        "scores by an image",
        {"spec/model": IN_IMAGE, "spec/server": {"outlierScores": {}}},
        "server.outlierScores needs a bundle",
        MINIMAL,
    ),
    Case(
        "retraining of a model in an image",
        with_changes(FULL, {"spec/model": IN_IMAGE}),
        "retraining needs a model in the bundle store",
    ),
)
