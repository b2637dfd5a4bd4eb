"""Where requests go, and which headers come back, through a real Envoy."""

from __future__ import annotations

import uuid

import pytest
from perennial_gateway.model import Backend

from tests.integration.gateway.backends import running
from tests.integration.gateway.harness import GatewayPod, route


@pytest.fixture
async def wine(pod: GatewayPod):
    async with running("wine-a") as server:
        await pod.apply(
            route("wine", Backend("wine-a", 100, (server.endpoint,))), route("empty", Backend("empty-a", 100))
        )
        yield server


def is_uuid(value: str) -> bool:
    return str(uuid.UUID(value)) == value


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("gateway", "/shop/wine/v2/models/wine"),
        ("10.0.0.1:8080", "/shop/wine/v2/models/wine"),
        ("wine.shop", "/v2/models/wine"),
        ("wine.shop:8080", "/v2/models/wine"),
        ("wine.shop.svc", "/v2/models/wine"),
        ("wine.shop.svc.cluster.local", "/v2/models/wine"),
    ],
)
async def test_every_address_reaches_the_model_under_its_own_path(pod, wine, host, path) -> None:
    status, headers, body = await pod.call(f"{path}?a=1", host=host)
    assert (status, body["backend"], body["path"]) == (200, "wine-a", "/v2/models/wine?a=1")
    assert headers["x-model-revision"] == body["headers"]["x-model-revision"] == "wine-a"
    assert headers["x-prediction-id"] == body["headers"]["x-prediction-id"]
    assert is_uuid(headers["x-prediction-id"])


async def test_client_ids_are_kept_but_never_become_keys(pod, wine) -> None:
    sent = {"x-request-id": "mine", "x-prediction-id": "mine", "x-model-revision": "mine"}
    _, headers, body = await pod.call("/shop/wine/v2", headers=sent)
    assert body["headers"]["x-request-id"] == "mine"
    assert headers["x-prediction-id"] == body["headers"]["x-prediction-id"] != "mine"
    assert headers["x-model-revision"] == body["headers"]["x-model-revision"] == "wine-a"


async def test_each_request_gets_a_prediction_id_of_its_own(pod, wine) -> None:
    answers = await pod.call_many("/shop/wine/v2", 50)
    assert len({headers["x-prediction-id"] for _, headers, _ in answers}) == 50


async def test_client_can_not_switch_on_retries_or_timeouts(pod, wine) -> None:
    wine.status = 503
    wine.delay_s = 0.05
    sent = {"x-envoy-retry-on": "5xx", "x-envoy-max-retries": "3", "x-envoy-upstream-rq-timeout-ms": "1"}
    status, _, body = await pod.call("/shop/wine/v2", headers=sent)
    assert (status, wine.requests) == (503, 1)
    sent = {name: value for name, value in body["headers"].items() if name.startswith("x-envoy")}
    # The route's own, by which the server knows when nobody waits any more.
    assert sent == {"x-envoy-expected-rq-timeout-ms": "60000"}


@pytest.mark.parametrize(
    ("host", "path", "want"),
    [
        ("gateway", "/shop/beer/v2", 404),
        ("gateway", "/shop/wine", 404),
        ("beer.shop", "/v2", 404),
        ("wine", "/v2", 421),
        ("gateway", "/shop/empty/v2", 503),
    ],
)
async def test_answers_of_the_gateway_itself_are_json_with_a_prediction_id(
    pod, wine, host, path, want
) -> None:
    status, headers, body = await pod.call(path, host=host, headers={"x-model-revision": "mine"})
    assert status == want
    assert headers["content-type"] == "application/json"
    assert list(body) == ["error"]
    assert is_uuid(headers["x-prediction-id"])
    assert "x-model-revision" not in headers


async def test_bare_name_is_told_the_full_address(pod, wine) -> None:
    _, _, body = await pod.call("/v2", host="wine")
    assert "http://wine.shop/v2/" in body["error"]


async def test_path_works_on_a_host_that_is_called_like_a_model(pod, wine) -> None:
    status, _, _ = await pod.call("/shop/wine/v2", host="wine")
    assert status == 200


@pytest.mark.parametrize(("host", "path"), [("gateway", "/shop/wine/feedback"), ("wine.shop", "/feedback")])
async def test_feedback_goes_to_the_observer_under_the_routes_own_name(
    pod, wine, observer, host, path
) -> None:
    status, _, body = await pod.call(path, host=host)
    assert (status, body["backend"]) == (200, "observer")
    assert body["path"] == "/v1/namespaces/shop/deployments/wine/feedback"
    assert wine.requests == 0


async def test_other_methods_on_the_feedback_path_are_the_models(pod, wine) -> None:
    _, _, body = await pod.call("/shop/wine/feedback", method="GET")
    assert body["backend"] == "wine-a"


async def test_body_above_the_cap_is_refused_and_one_below_it_passes(pod, wine) -> None:
    cap = 3 * 2**20
    await pod.apply(
        route("wine", Backend("wine-a", 100, (wine.endpoint,)), generation=2, max_body_bytes=cap),
        route("beer", Backend("beer-a", 100, (wine.endpoint,))),
    )
    status, _, body = await pod.call("/shop/wine/v2", data=b"x" * cap)
    assert (status, body["size_bytes"]) == (200, cap)
    status, headers, _ = await pod.call(
        "/shop/wine/v2", data=b"x" * (cap + 1), headers={"connection": "close"}
    )
    assert status == 413
    assert is_uuid(headers["x-prediction-id"])
    assert wine.requests == 1
    assert (await pod.call("/shop/beer/v2", data=b"x" * (cap + 1)))[0] == 200


async def test_answer_after_the_routes_timeout_is_a_504(pod, wine) -> None:
    await pod.apply(route("wine", Backend("wine-a", 100, (wine.endpoint,)), generation=2, timeout_s=0.3))
    wine.delay_s = 5.0
    status, headers, body = await pod.call("/shop/wine/v2")
    assert (status, headers["x-model-revision"]) == (504, "wine-a")
    assert "timeout" in body["error"]
    await pod.until_counts("shop/wine-a", requests=1, errors=1)


async def test_paths_that_climb_or_hide_stay_within_their_route(pod, wine) -> None:
    status, _, _ = await pod.call("/shop/beer/%2e%2e/wine/v2")
    assert status == 200  # normalised to /shop/wine/v2, hence the model's own path
    status, headers, _ = await pod.call("/shop%2fwine/v2")
    assert status == 404
    assert is_uuid(headers["x-prediction-id"])
