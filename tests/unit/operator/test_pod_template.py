"""How long a pod may take to end, and what its server is told."""

from typing import Any

import pytest
from perennial.manifests.context import Installation
from perennial.manifests.pod_template import PRE_STOP_S, Subject, build_pod_template
from perennial.rollout.lineage import choose_wanted
from perennial_api.modelruntime import ModelRuntimeSpec

from tests.unit.operator.builders import spec_of

RUNTIME = ModelRuntimeSpec.model_validate({"role": "Server", "image": "fast:1"})


def pod_of(
    request_timeout: str = "60s", server: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    base = {"runtime": "fast", "requestTimeout": request_timeout}
    spec = spec_of(server={**base, **(server or {})}, **changes)
    wanted = choose_wanted(spec, None, (), {})
    installation = Installation(gateway_host="gateway", observer_url="http://observer")
    template = build_pod_template(Subject("shop", "wine", "wine-1"), spec, wanted, RUNTIME, installation)
    pod: dict[str, Any] = template["spec"]
    return pod


def environment_of(pod: dict[str, Any]) -> dict[str, str]:
    return {e["name"]: e["value"] for e in pod["containers"][0]["env"]}


@pytest.mark.parametrize(("request_timeout", "longest_s"), [("1500ms", 1.5), ("60s", 60), ("5m", 300)])
def test_pod_outlives_the_longest_request_that_the_gateway_waits_for(
    request_timeout: str, longest_s: float
) -> None:
    pod = pod_of(request_timeout)
    assert float(environment_of(pod)["PERENNIAL_DRAIN_TIMEOUT_S"]) == longest_s
    assert pod["terminationGracePeriodSeconds"] > longest_s + PRE_STOP_S


def test_pod_has_a_minute_at_least() -> None:
    assert pod_of("1s")["terminationGracePeriodSeconds"] == 60


def test_server_is_told_what_to_log_and_where() -> None:
    sink = "http://broker.events/predictions"
    logger = {"mode": "Request", "percent": 10, "exclude": ["ssn", "street"], "sink": {"url": sink}}
    got = environment_of(pod_of(logger=logger))
    assert got["PERENNIAL_LOG_MODE"] == "Request"
    assert got["PERENNIAL_LOG_PERCENT"] == "10"
    assert got["PERENNIAL_LOG_EXCLUDE"] == "ssn,street"
    assert got["PERENNIAL_SINK_URL"] == sink
    assert "PERENNIAL_SINK_URL" not in environment_of(pod_of())


def test_server_is_told_by_what_rows_are_odd() -> None:
    got = environment_of(pod_of(server={"outlierScores": {"detector": "KNN", "contamination": 0.02}}))
    assert (got["PERENNIAL_OUTLIER_DETECTOR"], got["PERENNIAL_OUTLIER_CONTAMINATION"]) == ("KNN", "0.02")
    assert "PERENNIAL_OUTLIER_DETECTOR" not in environment_of(pod_of())
