"""gRPC through a real Envoy: Triton's own client, found by authority, split and counted as REST is."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
import pytest
from perennial_gateway.model import Backend, Stickiness
from tritonclient.grpc import service_pb2 as pb

from tests.integration.gateway.backends import running
from tests.integration.gateway.grpc_backends import CALL, build_inputs, client, infer, speaking
from tests.integration.gateway.harness import GatewayPod, route
from tests.integration.gateway.split import assert_share
from tests.integration.gateway.tokens import Issuer


def address(pod: GatewayPod) -> str:
    return pod.url.removeprefix("http://")


@pytest.fixture
async def wine(pod: GatewayPod):
    async with speaking("wine-a") as server:
        await pod.apply(route("wine", server.arm(100)))
        yield server


async def call(pod: GatewayPod, authority: str = "wine.shop", request: bytes = b"", metadata=(), **options):
    """Call with the bare client, which shows what Triton's hides: code, details and metadata."""
    async with grpc.aio.insecure_channel(
        address(pod), options=[("grpc.default_authority", authority)]
    ) as channel:
        sent = channel.unary_unary(CALL)(request, metadata=metadata, timeout=30, **options)
        try:
            await sent
        except grpc.aio.AioRpcError as error:
            # An answer that is nothing but its status has its headers behind it.
            metadata = [*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())]
            return error.code().name, error.details(), dict(metadata)
        return "OK", "", dict(await sent.initial_metadata())


@pytest.mark.parametrize(
    "authority", ["wine.shop", "wine.shop:8080", "wine.shop.svc", "wine.shop.svc.cluster.local"]
)
async def test_the_authority_leads_to_the_model(pod, wine, authority) -> None:
    async with client(address(pod), authority) as triton:
        assert await infer(triton) == "wine-a"


async def test_answers_carry_revision_and_prediction_id_of_the_gateway(pod, wine) -> None:
    _, _, metadata = await call(pod, metadata=(("x-prediction-id", "mine"), ("x-perennial-shadow", "true")))
    seen = wine.seen[-1]
    assert metadata["x-model-revision"] == seen["x-model-revision"] == "wine-a"
    assert metadata["x-prediction-id"] == seen["x-prediction-id"] not in {"mine", "forged"}
    assert "x-perennial-shadow" not in seen


async def test_the_clients_deadline_reaches_the_server(pod, wine) -> None:
    wine.delay_s = 30
    async with client(address(pod)) as triton:
        assert await infer(triton, client_timeout=0.3) == "DEADLINE_EXCEEDED"
        assert 0 < wine.seen[0]["left_s"] <= 0.3
        wine.delay_s = 0
        await infer(triton)
        # Who sets none has the route's.
        assert 50 < wine.seen[1]["left_s"] <= 60
    await pod.until_counts("shop/wine-a", active=0)


async def test_weights_split_grpc_as_they_split_rest(pod, wine) -> None:
    async with speaking("wine-b") as canary:
        await pod.apply(route("wine", canary.arm(20), wine.arm(80), generation=2))
        async with client(address(pod)) as triton:
            got = Counter(await asyncio.gather(*(infer(triton) for _ in range(400))))
        assert set(got) == {"wine-a", "wine-b"}
        assert_share(got["wine-b"], 400, 0.2)


async def test_clients_stay_with_their_revision_over_grpc(pod, wine) -> None:
    async with speaking("wine-b") as other:
        sticky = Stickiness("x-user-id", "s1")
        await pod.apply(route("wine", other.arm(50), wine.arm(50), generation=2, sticky=sticky))
        async with client(address(pod)) as triton:
            for user in ("ann", "bob", "eve"):
                arms = {await infer(triton, headers={"x-user-id": user}) for _ in range(5)}
                assert len(arms) == 1
        other.code = wine.code = grpc.StatusCode.INTERNAL
        async with client(address(pod)) as triton:
            assert await infer(triton, headers={"x-user-id": "ann"}) == "INTERNAL"

        async def users() -> tuple[int, int]:
            counts = (await pod.status())["counters"].values()
            return sum(c["users"] for c in counts), sum(c["failingUsers"] for c in counts)

        async def reached() -> bool:
            return await users() == (3, 1)

        await pod.until(reached, "three users of whom one has failed")


FAULTS = ["UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"]
REFUSALS = ["NOT_FOUND", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED", "FAILED_PRECONDITION", "PERMISSION_DENIED"]


async def test_what_a_server_fails_counts_as_an_error_and_what_it_refuses_does_not(pod, wine) -> None:
    async with client(address(pod)) as triton:
        for name in [*FAULTS, *REFUSALS, "INVALID_ARGUMENT", "OK"]:
            wine.code = grpc.StatusCode[name]
            assert await infer(triton) == ("wine-a" if name == "OK" else name)
    n = len(FAULTS) + len(REFUSALS) + 2
    await pod.until_counts("shop/wine-a", requests=n, errors=len(FAULTS), invalid=1, active=0)
    assert wine.requests == n


async def test_a_deadline_of_the_clients_own_is_no_fault_of_the_servers(pod, wine) -> None:
    wine.code = grpc.StatusCode.DEADLINE_EXCEEDED
    async with client(address(pod)) as triton:
        assert await infer(triton, client_timeout=10) == "DEADLINE_EXCEEDED"
        await pod.until_counts("shop/wine-a", requests=1, errors=0, active=0)
        assert await infer(triton) == "DEADLINE_EXCEEDED"
    await pod.until_counts("shop/wine-a", requests=2, errors=1, active=0)


async def test_both_roads_count_for_one_revision(pod, wine) -> None:
    async with running("wine-a", status=500) as rest:
        both = Backend("wine-a", 100, (rest.endpoint,), grpc_port=wine.port)
        await pod.apply(route("wine", both, generation=2, latency_budget_ms=60_000))
        assert (await pod.call("/v2", host="wine.shop"))[0] == 500
        assert (await pod.call("/shop/wine/v2"))[0] == 500
        wine.code = grpc.StatusCode.INTERNAL
        async with client(address(pod)) as triton:
            assert await infer(triton) == "INTERNAL"
        await pod.until_counts("shop/wine-a", requests=3, errors=3, slow=0)
    assert list((await pod.status())["counters"]) == ["shop/wine-a"]


async def test_answers_above_the_latency_budget_count_as_slow(pod, wine) -> None:
    await pod.apply(route("wine", wine.arm(100), generation=2, latency_budget_ms=1))
    wine.delay_s = 0.05
    async with client(address(pod)) as triton:
        assert await infer(triton) == "wine-a"
    await pod.until_counts("shop/wine-a", requests=1, slow=1, errors=0)


async def test_a_server_that_is_gone_is_unavailable_and_an_error(pod, wine) -> None:
    await wine.stop()
    code, details, metadata = await call(pod)
    assert (code, metadata["x-model-revision"]) == ("UNAVAILABLE", "wine-a")
    assert not details.startswith("{")
    await pod.until_counts("shop/wine-a", requests=1, errors=1)


async def test_a_route_whose_time_is_up_is_a_deadline_and_an_error(pod, wine) -> None:
    await pod.apply(route("wine", wine.arm(100), generation=2, timeout_s=0.3))
    wine.delay_s = 30
    assert (await call(pod))[0] == "DEADLINE_EXCEEDED"
    await pod.until_counts("shop/wine-a", requests=1, errors=1)


async def test_a_message_above_the_cap_is_refused_and_no_error_of_the_servers(pod, wine) -> None:
    await pod.apply(route("wine", wine.arm(100), generation=2, max_body_bytes=2**20))
    async with client(address(pod)) as triton:
        assert await infer(triton, inputs=build_inputs(2**20 - 1000)) == "wine-a"
        assert await infer(triton, inputs=build_inputs(2**21)) == "RESOURCE_EXHAUSTED"
    assert wine.requests == 1
    await pod.until_counts("shop/wine-a", requests=1, errors=0, active=0)


async def test_copies_go_to_the_shadow_and_are_counted_as_its(pod, wine) -> None:
    async with speaking("wine-b", grpc.StatusCode.INTERNAL) as shadow:
        await pod.apply(route("wine", shadow.arm(0), wine.arm(100), generation=2, mirror="wine-b"))
        async with client(address(pod)) as triton:
            assert {await infer(triton) for _ in range(5)} == {"wine-a"}
        await pod.until_counts("shop/wine-b", requests=0, shadow={"requests": 5, "errors": 5, "slow": 0})
        assert shadow.seen[0]["x-perennial-shadow"] == "true"
        assert {s["x-prediction-id"] for s in shadow.seen} == {s["x-prediction-id"] for s in wine.seen}


async def test_the_previewed_revision_answers_on_its_own_authority_uncounted(pod, wine) -> None:
    async with speaking("wine-b") as preview:
        await pod.apply(route("wine", preview.arm(0), wine.arm(100), generation=2, preview="wine-b"))
        async with client(address(pod), "preview.wine.shop") as triton:
            assert await infer(triton) == "wine-b"
        assert preview.seen[0]["x-perennial-pin"] == "wine-b"
        assert (await pod.counts("shop/wine-b"))["requests"] == 0


async def test_a_token_pins_the_revision_that_answers(pod, wine) -> None:
    issuer = Issuer()
    pod.keys = issuer.jwks()
    pins = pod.pin_url.removeprefix("http://")
    async with speaking("wine-b") as pinned, client(pins) as triton:
        await pod.apply(route("wine", pinned.arm(0), wine.arm(100), generation=2))
        headers = {"authorization": f"Bearer {issuer.token()}", "x-model-revision": "wine-b"}
        assert await infer(triton, headers=headers) == "wine-b"
        assert pinned.seen[0]["x-perennial-pin"] == "wine-b"
        assert not pinned.seen[0].keys() & {"authorization", "x-perennial-caller"}
        assert await infer(triton, headers={"x-model-revision": "wine-b"}) == "UNAUTHENTICATED"
        assert await infer(triton, headers=headers | {"x-model-revision": ""}) == "INVALID_ARGUMENT"
        assert await infer(triton, headers=headers | {"x-model-revision": "wine-a"}) == "wine-a"
        assert (await pod.counts("shop/wine-b"))["requests"] == 0


async def test_a_revision_without_grpc_is_stood_in_for(pod, wine) -> None:
    async with running("wine-b") as old:
        await pod.apply(route("wine", wine.arm(5), Backend("wine-b", 95, (old.endpoint,)), generation=2))
        async with client(address(pod)) as triton:
            assert {await infer(triton) for _ in range(20)} == {"wine-a"}
        assert old.requests == 0


async def test_a_model_without_grpc_says_so_and_counts_nothing(pod) -> None:
    async with running("beer-a") as server:
        await pod.apply(route("beer", Backend("beer-a", 100, (server.endpoint,))))
        code, details, metadata = await call(pod, "beer.shop")
        assert (code, "grpcPort" in details) == ("UNIMPLEMENTED", True)
        assert metadata["x-prediction-id"]
        assert (server.requests, (await pod.counts("shop/beer-a"))["requests"]) == (0, 0)
        assert (await pod.call("/v2", host="beer.shop"))[0] == 200


async def test_refusals_of_the_gateway_itself_have_a_sentence_and_a_fitting_status(pod, wine) -> None:
    await pod.apply(route("wine", Backend("wine-a", 100, (), grpc_port=wine.port), generation=2))
    for authority, want, word in (
        ("wine.shop", "UNAVAILABLE", "No server of shop/wine is ready"),
        ("beer.shop", "NOT_FOUND", "No model is served here"),
        ("wine", "NOT_FOUND", "http://wine.shop/v2/"),
    ):
        code, details, metadata = await call(pod, authority)
        assert (code, word in details) == (want, True), details
        assert not details.startswith("{")
        assert metadata["x-prediction-id"]

    async def counted() -> bool:
        return (await pod.status())["unserved"] == {"shop/wine": 1}

    await pod.until(counted, "the one that no server was ready to take is counted")


async def test_requests_survive_while_endpoints_change(pod, wine) -> None:
    async with speaking("wine-a") as other, client(address(pod)) as triton:
        got = []
        for generation in range(2, 8):
            server = other if generation % 2 else wine
            calls = [asyncio.create_task(infer(triton)) for _ in range(20)]
            await pod.apply(route("wine", server.arm(100), generation=generation))
            got += await asyncio.gather(*calls)
        assert got == ["wine-a"] * 120
    assert (await pod.counts("shop/wine-a"))["errors"] == 0


async def test_a_message_in_pieces_arrives_whole(pod, wine) -> None:
    request = pb.ModelInferRequest(model_name="wine", raw_input_contents=[b"x" * 3 * 2**20])
    assert (await call(pod, request=request.SerializeToString()))[0] == "OK"
    assert wine.seen[-1]["size_bytes"] > 3 * 2**20
