"""What the chart renders, by Helm itself."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from perennial_localcluster.binaries import BINARIES, build, find_cached
from perennial_localcluster.paths import find_paths
from perennial_observer.settings import Settings

CHART = Path(__file__).resolve().parents[2] / "charts" / "perennial"


@pytest.fixture(scope="module")
def helm() -> Path:
    (binary,) = (one for one in BINARIES if one.name == "helm")
    paths = find_paths()
    if not find_cached(binary, paths).exists():
        build(binary, paths)
    return find_cached(binary, paths)


def render(helm: Path, *values: str) -> list[dict[str, Any]]:
    settings = [part for value in values for part in ("--set", value)]
    command = [str(helm), "template", "perennial", str(CHART), *settings]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


def test_nothing_of_the_prometheus_operator_is_there_at_first(helm):
    kinds = {document["kind"] for document in render(helm)}
    assert "Deployment" in kinds
    assert not kinds & {"PodMonitor", "PrometheusRule"}


def test_pod_monitors_scrape_the_ports_that_the_pods_are_annotated_with(helm):
    documents = render(helm, "monitoring.podMonitor.enabled=true", "monitoring.podMonitor.labels.release=kps")
    monitors = of_kind(documents, "PodMonitor")
    scraped = {}
    for deployment in of_kind(documents, "Deployment"):
        template = deployment["spec"]["template"]
        pod, labels = template["spec"], template["metadata"]["labels"].items()
        (monitor,) = (m for m in monitors if m["spec"]["selector"]["matchLabels"].items() <= labels)
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        ports = [
            str(port["containerPort"])
            for container in (*pod.get("initContainers", ()), *pod["containers"])
            for port in container.get("ports", ())
            if port["name"] == endpoint["port"]
        ]
        assert ports == [template["metadata"]["annotations"]["prometheus.io/port"]]
        # Else the label `namespace` would be the pod's, not the model's.
        assert endpoint["honorLabels"] is True
        assert monitor["metadata"]["labels"]["release"] == "kps"
        scraped[deployment["metadata"]["name"]] = monitor["metadata"]["name"]
    assert set(scraped) == {"perennial-gateway", "perennial-observer", "perennial-operator"}
    assert len(monitors) == len(scraped)


def test_router_agent_has_a_token_for_the_observer_who_knows_its_service_account(helm):
    (gateway,) = (
        d for d in of_kind(render(helm), "Deployment") if d["metadata"]["name"] == "perennial-gateway"
    )
    pod = gateway["spec"]["template"]["spec"]
    (agent,) = pod["initContainers"]
    env = {variable["name"]: variable.get("value") for variable in agent["env"]}
    (mount,) = (m for m in agent["volumeMounts"] if env["PERENNIAL_TOKEN_FILE"].startswith(m["mountPath"]))
    (volume,) = (v for v in pod["volumes"] if v["name"] == mount["name"])
    (source,) = volume["projected"]["sources"]
    observer = Settings.model_fields
    assert env["PERENNIAL_TOKEN_FILE"] == f"{mount['mountPath']}/{source['serviceAccountToken']['path']}"
    assert source["serviceAccountToken"]["audience"] == observer["audience"].default
    assert pod["serviceAccountName"] == observer["gateway_service_account"].default
    # Envoy, which reads what clients send, has no use for it.
    (envoy,) = pod["containers"]
    assert mount["name"] not in {m["name"] for m in envoy["volumeMounts"]}
