"""Every type of monitor from traffic to condition, metric and Event, and back to quiet."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from perennial_demo import install
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.support.kube import Kube, wait_for
from tests.e2e.support.models import make_rows, request_body, save_classifier
from tests.e2e.support.objects import ECHO_BODY, deployment
from tests.e2e.support.rollouts import FIRST
from tests.e2e.support.traffic import Traffic

NAME = "world"
CHECKS = "http://checks.perennial-monitoring:8080/mean-of-a"  # conftest.py allows the address
ROWS_PER_REQUEST = 40
WINDOW = 200
LABELS = {"maturity": "60s", "minCoverage": 0.5, "minLabels": 50}

Rows = tuple[pd.DataFrame, np.ndarray]

# What each monitor's alarm is called among the conditions.
CONDITIONS = {
    "drift": "DriftDetected",
    "joint": "DriftDetected",
    "answers": "DriftDetected",
    "left": "DriftDetected",
    "outliers": "OutliersDetected",
    "quality": "DataQualityDegraded",
    "accuracy": "PerformanceDegraded",
    "concept": "PerformanceDegraded",
    "estimate": "EstimatedPerformanceDegraded",
    "fair": "UnfairnessDetected",
    "own": "CustomAlarm",
}


def monitoring() -> dict[str, Any]:
    return {
        "eventTime": "time",
        "defaults": {
            "window": {"size": WINDOW, "maxAge": "30d", "minSamples": 50},
            "falseAlarmEvery": "1d",
            "clear": {"consecutive": 2},
        },
        "slices": [{"name": "low", "where": "b < 0"}, {"name": "high", "where": "b >= 0"}],
        "monitors": [
            {"name": "drift", "type": "Drift", "severity": "Page", "drift": {"detector": "KS"}},
            {"name": "joint", "type": "Drift", "drift": {"detector": "MMD"}},
            {"name": "left", "type": "Drift", "slice": "low", "drift": {"detector": "CVM", "minEffect": 0.02}},
            {"name": "answers", "type": "PredictionDrift"},
            {"name": "outliers", "type": "Outlier", "outlier": {"detector": "KNN", "maxRate": 0.2}},
            {"name": "quality", "type": "DataQuality"},
            {"name": "accuracy", "type": "Performance", "performance": {"metric": "accuracy", "min": 0.75, "labels": LABELS}},
            {"name": "concept", "type": "Concept", "concept": {"labels": LABELS}},
            {"name": "estimate", "type": "EstimatedPerformance", "estimatedPerformance": {"method": "CBPE", "metric": "accuracy", "min": 0.75}},
            {"name": "fair", "type": "Fairness", "fairness": {"metric": "positive_rate", "slices": ["low", "high"], "maxDifference": 0.25}},
            {"name": "own", "type": "Custom", "custom": {"url": CHECKS, "max": 1.0}},
        ],
    }  # fmt: skip


def as_ever(frame: pd.DataFrame, labels: np.ndarray) -> Rows:
    """Nothing has changed."""
    return frame, labels


def near_the_border(frame: pd.DataFrame, labels: np.ndarray) -> Rows:
    """All rows are close cases, for which the model is hardly better than chance, as it knows itself."""
    toss = np.random.default_rng(len(frame) + int(frame["time"].iloc[0])).integers(0, 2, len(labels))
    return frame.assign(a=0.05 * frame["a"]), toss


def far_away_on_one_side(frame: pd.DataFrame, labels: np.ndarray) -> Rows:
    """Rows of one slice come from where the reference has none."""
    return frame.assign(a=np.where(frame["b"] >= 0, frame["a"] + 9.0, frame["a"])), labels


@dataclass
class World:
    """Clients who ask for predictions and send labels back."""

    kube: Kube
    namespace: str
    url: str
    row: int = 0
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20))

    def live(self, windows: float, change: Callable[[pd.DataFrame, np.ndarray], Rows] = as_ever) -> None:
        for _ in range(int(windows * WINDOW / ROWS_PER_REQUEST)):
            frame, labels = change(*make_rows(ROWS_PER_REQUEST, first=self.row))
            self.row += ROWS_PER_REQUEST
            answer = self.client.post(f"{self.url}/v2/models/{NAME}/infer", json=request_body(frame))
            answer.raise_for_status()
            id_ = answer.headers["x-prediction-id"]
            feedback = [{"prediction_id": id_, "row": i, "label": int(x)} for i, x in enumerate(labels)]
            self.client.post(f"{self.url}/feedback", json={"feedback": feedback}).raise_for_status()

    def verdicts(self) -> dict[str, dict[str, Any]]:
        report = self.kube.get("monitorreport", NAME, self.namespace) or {}
        return {m["name"]: m for m in report.get("status", {}).get("monitors", [])}

    def wait_states(self, names: set[str], want: str, timeout_s: float = 90) -> dict[str, dict[str, Any]]:
        """Wait until monitors are in a state, with what stands in the way in the message."""

        def others() -> dict[str, str]:
            known = self.verdicts()
            return {
                name: f"{known[name]['state']} {known[name].get('message', '')}" if name in known else "none"
                for name in names
                if known.get(name, {}).get("state") != want
            }

        left: dict[str, str] = {}

        def probe() -> bool:
            nonlocal left
            left = others()
            return not left

        try:
            wait_for(probe, timeout_s=timeout_s, what=f"{want} of {sorted(names)}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(left, indent=1)}") from error
        return self.verdicts()


class _Checks(BaseHTTPRequestHandler):
    """A number of the user's own: the mean of `a` in the window."""

    def do_POST(self) -> None:
        columns = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["columns"]
        body = json.dumps({"value": sum(columns["a"]) / len(columns["a"])}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def checks(kube: Kube) -> Iterator[None]:
    """A Service for an endpoint on the node, which is this machine."""
    addresses = kube.list("node")[0]["status"]["addresses"]
    host = next(found["address"] for found in addresses if found["type"] == "InternalIP")
    with ThreadingHTTPServer((host, 0), _Checks) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        place = {"name": "checks", "namespace": "perennial-monitoring"}
        service = {"ports": [{"port": 8080, "name": "http"}]}
        kube.apply({"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": service})
        kube.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**place, "labels": {"kubernetes.io/service-name": "checks"}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [host]}],
                "ports": [{"name": "http", "port": server.server_address[1]}],
            }
        )
        yield
        kube.run("delete", "service,endpointslice", "checks", "-n", place["namespace"])
        server.shutdown()
        thread.join()


def told(kube: Kube, namespace: str, reason: str, monitor: str) -> bool:
    """Whether an Event of the deployment names the monitor."""
    return any(
        event["reason"] == reason and monitor in event["message"] for event in kube.list("event", namespace)
    )


def state_metric(kube: Kube, namespace: str, monitor: str) -> str:
    """Return the state of a monitor by the observer's metrics."""
    (pod,) = kube.list("pod", install.NAMESPACE, "app.kubernetes.io/component=observer")
    text = httpx.get(f"http://{pod['status']['podIP']}:8080/metrics", timeout=10).text
    (state,) = (
        sample.labels["state"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "perennial_monitor_state"
        and sample.value == 1
        and (sample.labels["namespace"], sample.labels["monitor"]) == (namespace, monitor)
    )
    return state


@pytest.fixture
def world(kube: Kube, namespace: str, gateway_url: str, push: Callable[[Path], str], tmp_path: Path) -> World:
    uri = push(save_classifier(tmp_path / "world").path)
    kube.apply(deployment(NAME, namespace, uri, monitoring=monitoring()))
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=180)
    return World(kube, namespace, f"{gateway_url}/{namespace}/{NAME}")


@pytest.mark.usefixtures("checks")
def test_every_monitor_alarms_on_what_it_watches_and_is_quiet_again(kube: Kube, world: World) -> None:
    everybody = {monitor["name"] for monitor in monitoring()["monitors"]}
    world.live(5)
    world.wait_states(everybody - {"estimate"}, "Ok")

    world.live(4, near_the_border)
    alarmed = {"drift", "joint", "left", "answers", "accuracy", "concept", "estimate"}
    verdicts = world.wait_states(alarmed, "Alarm")
    for name in ("quality", "fair"):
        assert verdicts[name]["state"] == "Ok", verdicts[name]
    assert verdicts["drift"]["features"][0]["name"] == "a"
    for condition in {CONDITIONS[name] for name in alarmed}:
        kube.wait_condition(NAME, world.namespace, condition, "True", timeout_s=30)

    for name in alarmed:
        wait_for(
            lambda name=name: told(kube, world.namespace, "AlarmRaised", name),
            timeout_s=30,
            what=f"an Event that {name} is in alarm",
        )
        assert state_metric(kube, world.namespace, name) == "Alarm"

    world.live(4, far_away_on_one_side)
    far = {"outliers", "quality", "fair", "own"}
    world.wait_states(far, "Alarm")
    for name in far:
        kube.wait_condition(NAME, world.namespace, CONDITIONS[name], "True", timeout_s=30)

    world.live(6)
    world.wait_states(everybody, "Ok", timeout_s=120)
    for condition in set(CONDITIONS.values()):
        kube.wait_condition(NAME, world.namespace, condition, "False", timeout_s=30)
    for name in everybody:
        assert state_metric(kube, world.namespace, name) == "Ok"
        wait_for(
            lambda name=name: told(kube, world.namespace, "AlarmCleared", name),
            timeout_s=30,
            what=f"an Event that {name} is quiet again",
        )


def test_failing_requests_burn_the_budget_of_the_service_level_until_good_ones_outweigh_them(
    kube: Kube, namespace: str, gateway_url: str, test_runtimes: None
) -> None:
    """Its windows are hours, so that time alone ends no alarm here; requests that don't fail do, and sooner."""
    monitor = {
        "name": "slo",
        "type": "ServiceLevel",
        "severity": "Page",
        # An alarm above 30 % of six hours' requests, until it is below 15 %.
        "serviceLevel": {"availability": 0.95, "minRequests": 100},
        "alarm": {"breaches": 1, "of": 1},
        "clear": {"consecutive": 1},
    }
    kube.apply(deployment(NAME, namespace, FIRST, "test-some-users", monitoring={"monitors": [monitor]}))
    kube.wait_condition(NAME, namespace, "Ready", "True", timeout_s=120)
    url = f"{gateway_url}/{namespace}/{NAME}/v2/models/{NAME}/infer"
    # Of these ten users four always fail; a request without a user never does.
    with Traffic(url, ECHO_BODY, rate_per_s=10, users=10):
        kube.wait_condition(NAME, namespace, "ServiceLevelDegraded", "True", timeout_s=240)
    wait_for(lambda: told(kube, namespace, "AlarmRaised", "slo"), timeout_s=30, what="an Event of the alarm")
    assert state_metric(kube, namespace, "slo") == "Alarm"

    with Traffic(url, ECHO_BODY, rate_per_s=80):
        kube.wait_condition(NAME, namespace, "ServiceLevelDegraded", "False", timeout_s=300)
    wait_for(lambda: told(kube, namespace, "AlarmCleared", "slo"), timeout_s=30, what="an Event of its end")
    assert state_metric(kube, namespace, "slo") == "Ok"
