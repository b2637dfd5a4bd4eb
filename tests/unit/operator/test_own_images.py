"""Runtimes whose model is in their own image: found with the server before it, and told apart from those of bundles."""

from typing import Any

import pytest
from perennial.manifests.upstream import describe_adapter
from perennial_api.modelruntime import ModelRuntimeSpec
from perennial_server.adapting.declaration import Declaration

from tests.contract.crds.adapter_specs import ADAPTER, FULL_ADAPTER
from tests.unit.operator.builders import uri
from tests.unit.operator.fake_cluster import FakeCluster, Json
from tests.unit.operator.test_reconcile import RUNTIME, cluster_with, condition, names, status_of, wine

IN_IMAGE = {"model": {"uri": "runtime://v1"}, "server": {"runtime": "plumber"}}


def runtime_of(name: str = "plumber", **changes: Any) -> dict[str, Any]:
    spec = {"role": "Server", "image": "r:1", "formats": ["container"]}
    adapter = {**ADAPTER, "runtime": "fast"} | changes
    return {
        "kind": "ModelRuntime",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {**spec, "adapter": adapter},
    }


def foreign(**changes: Any) -> dict[str, Any]:
    """A runtime whose image speaks the protocol itself, and keeps no log."""
    spec = {"role": "Server", "image": "f:1", "formats": ["container"], "loggedBy": "Gateway"}
    return {
        "kind": "ModelRuntime",
        "metadata": {"name": "foreign", "namespace": "shop"},
        "spec": spec | changes,
    }


def revisions(cluster: FakeCluster) -> list[Json]:
    return [
        found for name in names(cluster, "ModelRevision") if (found := cluster.find("ModelRevision", name))
    ]


async def test_model_in_an_image_is_served_by_the_runtime_that_its_adapter_names() -> None:
    cluster = cluster_with(RUNTIME, runtime_of(), wine(**IN_IMAGE))
    await cluster.run(5)
    assert condition(cluster, "Ready")["status"] == "True"
    (revision,) = revisions(cluster)
    pod = revision["spec"]["podTemplate"]["spec"]
    assert [container["image"] for container in pod["containers"]] == ["fast:1"]
    assert [container["image"] for container in pod["initContainers"]] == ["r:1"]
    assert revision["spec"]["runtime"]["image"] == "r:1"


async def test_another_label_takes_the_runtime_as_it_is_then() -> None:
    cluster = cluster_with(RUNTIME, runtime_of(), wine(**IN_IMAGE))
    await cluster.run(5)
    before = names(cluster, "ModelRevision")
    cluster.edit("ModelRuntime", "plumber", lambda spec: spec.update(image="r:2"))
    await cluster.run(5)
    assert names(cluster, "ModelRevision") == before
    cluster.edit("ModelDeployment", "wine", lambda spec: spec.update(model={"uri": "runtime://v2"}))
    await cluster.run(3)
    images = {r["spec"]["podTemplate"]["spec"]["initContainers"][0]["image"] for r in revisions(cluster)}
    assert images == {"r:1", "r:2"}


@pytest.mark.parametrize(
    ("wish", "runtime", "reason", "says"),
    [
        ({**IN_IMAGE, "model": {"uri": uri("a")}}, runtime_of(), "RuntimeOfOtherFormat", "runtime://<label>"),
        (
            {**IN_IMAGE, "server": {"runtime": "fast"}},
            runtime_of(),
            "RuntimeOfOtherFormat",
            "format bento or container",
        ),
        (IN_IMAGE, runtime_of(runtime="none"), "RuntimeNotFound", "adapter.runtime of ModelRuntime plumber"),
        (IN_IMAGE, runtime_of(runtime="plumber"), "RuntimeInvalid", "is no server of Perennial's"),
        (
            IN_IMAGE,
            runtime_of(
                inputs=[
                    {"name": f"x{i}", "datatype": "BYTES", "categories": [f"{j:0100}" for j in range(64)]}
                    for i in range(20)
                ]
            ),
            "RuntimeInvalid",
            "name fewer categories",
        ),
        (
            {**IN_IMAGE, "server": {"runtime": "foreign"}, "logger": {"sink": {"url": "http://events"}}},
            foreign(),
            "SinkNeedsServer",
            "remove logger.sink",
        ),
        (
            {"server": {"runtime": "foreign", "outlierScores": {}}},
            foreign(formats=["skops"]),
            "ScoresNeedServer",
            "remove server.outlierScores",
        ),
    ],
)
async def test_runtime_that_does_not_fit_is_named(
    wish: dict[str, Any], runtime: dict[str, Any], reason: str, says: str
) -> None:
    cluster = cluster_with(RUNTIME, runtime, wine(**wish))
    await cluster.run(5)
    found = condition(cluster, "InvalidSpec")
    assert found["reason"] == reason
    assert says in found["message"]
    assert names(cluster, "ModelRevision") == []


FOREIGN = {"model": {"uri": "runtime://v1"}, "server": {"runtime": "foreign"}}


async def test_image_that_keeps_no_log_answers_clients_itself_and_its_route_says_what_the_gateway_records() -> (
    None
):
    logger = {"mode": "All", "percent": 20, "exclude": ["ssn"]}
    cluster = cluster_with(RUNTIME, foreign(), wine(**FOREIGN, logger=logger))
    await cluster.run(5)
    (revision,) = revisions(cluster)
    pod = revision["spec"]["podTemplate"]["spec"]
    assert [container["image"] for container in pod["containers"]] == ["f:1"]
    assert "initContainers" not in pod
    route = cluster.find("ModelRoute", "wine")
    assert route is not None
    assert [r.get("log") for r in route["spec"]["revisions"]] == [logger]


@pytest.mark.parametrize(
    ("runtime", "logger"),
    [(foreign(), {"mode": "None"}), (foreign(formats=["skops"], loggedBy="Server"), {"mode": "All"})],
)
async def test_route_asks_for_no_log_where_nothing_is_recorded_or_the_server_does(
    runtime: dict[str, Any], logger: dict[str, Any]
) -> None:
    model = {"uri": uri("a") if runtime["spec"]["formats"] == ["skops"] else "runtime://v1"}
    cluster = cluster_with(RUNTIME, runtime, wine(**{**FOREIGN, "model": model}, logger=logger))
    await cluster.run(5)
    route = cluster.find("ModelRoute", "wine")
    assert route is not None
    assert ["log" in r for r in route["spec"]["revisions"]] == [False]


async def test_what_serves_goes_on_when_the_runtime_no_longer_fits() -> None:
    cluster = cluster_with(RUNTIME, runtime_of(), wine())
    await cluster.run(5)
    before = names(cluster, "Deployment")
    cluster.edit("ModelDeployment", "wine", lambda spec: spec["server"].update(runtime="plumber"))
    await cluster.run(5)
    assert condition(cluster, "InvalidSpec")["reason"] == "RuntimeOfOtherFormat"
    assert condition(cluster, "Ready")["status"] == "True"
    assert names(cluster, "Deployment") == before


async def test_variant_in_a_bundle_does_not_fit_a_runtime_of_an_image() -> None:
    experiment = {
        "type": "ABTest",
        "variants": [{"name": "challenger", "model": {"uri": uri("b")}, "weight": 50}],
        "abTest": {"routeType": "Random"},
    }
    cluster = cluster_with(RUNTIME, runtime_of(), wine(**IN_IMAGE, experiment=experiment))
    await cluster.run(10)
    arms = {arm["name"]: arm for arm in status_of(cluster)["experiment"]["arms"]}
    assert arms["challenger"]["message"].startswith("RuntimeOfOtherFormat")


@pytest.mark.parametrize(("adapter", "format_"), [(ADAPTER, "container"), (FULL_ADAPTER, "bento")])
def test_server_reads_what_the_operator_writes(adapter: dict[str, Any], format_: str) -> None:
    spec = ModelRuntimeSpec.model_validate(
        {"role": "Server", "image": "r:1", "formats": [format_], "adapter": adapter}
    )
    declared = Declaration.model_validate_json(describe_adapter(spec))
    assert declared.format == format_
    assert declared.timeout_s == (2 if "timeout" in adapter else 10)
    assert [column.name for column in declared.columns.inputs] == [c["name"] for c in adapter["inputs"]]
    assert {column.role for column in declared.columns.outputs} == {"Output"}
