"""Naming the revision that answers: on the pinning port with a token, on the preview address without."""

from __future__ import annotations

import pytest
from perennial_gateway.model import Backend

from tests.integration.gateway.backends import running
from tests.integration.gateway.harness import NOTHING_COUNTED, GatewayPod, route
from tests.integration.gateway.tokens import Issuer


@pytest.fixture
async def wine(pod: GatewayPod):
    async with running("a") as a, running("b") as b:
        await pod.apply(
            route(
                "wine",
                Backend("wine-b", 0, (b.endpoint,)),
                Backend("wine-a", 100, (a.endpoint,)),
                preview="wine-b",
            )
        )
        yield a, b


@pytest.fixture
def issuer(pod: GatewayPod) -> Issuer:
    issuer = Issuer()
    pod.keys = issuer.jwks()
    return issuer


async def pin(pod: GatewayPod, token: str, revision: str = "wine-b", path="/shop/wine/v2", host="gateway"):
    headers = {"x-model-revision": revision} if revision else {}
    if token:
        headers["authorization"] = f"Bearer {token}"
    return await pod.call(path, headers=headers, url=pod.pin_url, host=host)


@pytest.mark.parametrize(("path", "host"), [("/shop/wine/v2", "gateway"), ("/v2", "wine.shop")])
async def test_token_of_this_cluster_pins_any_revision(pod, wine, issuer, path, host) -> None:
    for revision, backend in (("wine-a", "a"), ("wine-b", "b")):
        status, headers, body = await pin(pod, issuer.token(), revision, path, host)
        assert (status, headers["x-model-revision"], body["backend"]) == (200, revision, backend)
        assert (body["path"], body["headers"]["x-model-revision"]) == ("/v2", revision)
        assert headers["x-prediction-id"] == body["headers"]["x-prediction-id"]
        # The token proves who asks to the gateway; a model must not be able to use it.
        assert not body["headers"].keys() & {"authorization", "x-perennial-caller"}
        # By this the model's server keeps a trial out of its log.
        assert body["headers"]["x-perennial-pin"] == revision


async def test_without_a_valid_token_nothing_is_served(pod, wine, issuer) -> None:
    bad = {
        "none": "",
        "nonsense": "a.b.c",
        "of another cluster": Issuer().token(),
        "for another audience": issuer.token("perennial-observer"),
        "expired": issuer.token(valid_s=-600),
    }
    got = {name: (await pin(pod, token))[0] for name, token in bad.items()}
    assert set(got.values()) <= {401, 403}, got
    assert [server.requests for server in wine] == [0, 0]


@pytest.mark.parametrize("subject", ["system:serviceaccount:shopping:tester", "system:node:shop", "shop"])
@pytest.mark.parametrize("address", [("/shop/wine/v2", "gateway"), ("/v2", "wine.shop")])
async def test_service_account_of_another_namespace_is_told_whose_token_it_needs(
    pod, wine, issuer, subject, address
) -> None:
    path, host = address
    forged = {"x-perennial-caller": "system:serviceaccount:shop:tester", "x-model-revision": "wine-b"}
    forged["authorization"] = f"Bearer {issuer.token(sub=subject)}"
    status, _, body = await pod.call(path, headers=forged, url=pod.pin_url, host=host)
    assert status == 403
    assert "Only ServiceAccounts of namespace shop" in body["error"]
    assert [server.requests for server in wine] == [0, 0]


async def test_without_keys_nobody_is_let_in(pod, wine) -> None:
    status, _, _ = await pin(pod, Issuer().token())
    assert status == 401


async def test_pinned_requests_are_in_no_revisions_counts(pod, wine, issuer) -> None:
    wine[1].status = 500
    for _ in range(5):
        assert (await pin(pod, issuer.token()))[0] == 500
    async with pod.client.get(f"{pod.agent_url}/metrics") as response:
        text = await response.text()
    assert 'perennial_gateway_errors_total{namespace="shop",revision="wine-b",traffic="pin"} 5.0' in text
    assert await pod.counts("shop/wine-b") == NOTHING_COUNTED


@pytest.mark.parametrize("revision", ["", "wine-c"])
async def test_pin_without_a_revision_of_the_route_is_told_which_there_are(
    pod, wine, issuer, revision
) -> None:
    status, headers, body = await pin(pod, issuer.token(), revision)
    assert status == 400
    assert "wine-b, wine-a" in body["error"]
    assert "x-model-revision" not in headers


async def test_public_port_takes_no_wish(pod, wine, issuer) -> None:
    sent = {
        "x-model-revision": "wine-b",
        "x-perennial-pin": "wine-b",
        "authorization": f"Bearer {issuer.token()}",
    }
    _, headers, body = await pod.call("/shop/wine/v2", headers=sent)
    assert (headers["x-model-revision"], body["backend"]) == ("wine-a", "a")
    assert "x-perennial-pin" not in body["headers"]


@pytest.mark.parametrize(
    ("path", "host"), [("/shop/wine:preview/v2/x?a=1", "gateway"), ("/v2/x?a=1", "preview.wine.shop")]
)
async def test_preview_address_is_answered_by_the_previewed_revision_and_not_counted(
    pod, wine, path, host
) -> None:
    status, headers, body = await pod.call(path, host=host)
    assert (status, headers["x-model-revision"], body["backend"]) == (200, "wine-b", "b")
    assert (body["path"], body["headers"]["x-perennial-pin"]) == ("/v2/x?a=1", "wine-b")
    assert await pod.counts("shop/wine-b") == NOTHING_COUNTED


async def test_without_preview_its_address_is_unknown(pod, wine) -> None:
    a, _ = wine
    await pod.apply(route("wine", Backend("wine-a", 100, (a.endpoint,)), generation=2))
    assert (await pod.call("/shop/wine:preview/v2"))[0] == 404
    assert (await pod.call("/v2", host="preview.wine.shop"))[0] == 404
