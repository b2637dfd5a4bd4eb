"""Copied requests: seen by the shadow, by nobody else, counted apart, and never in the way."""

from __future__ import annotations

from perennial_gateway.clusters import MAX_MIRRORED_REQUESTS, MAX_WAITING_COPIES
from perennial_gateway.model import Backend, Route

from tests.integration.gateway.backends import running
from tests.integration.gateway.harness import NOTHING_COUNTED, GatewayPod, route
from tests.integration.gateway.split import assert_share


def wine(a, b, **fields) -> Route:
    return route("wine", Backend("wine-b", 0, (b.endpoint,)), Backend("wine-a", 100, (a.endpoint,)), **fields)


async def until_copied(pod: GatewayPod, requests: int) -> None:
    async def copied() -> bool:
        return (await pod.counts("shop/wine-b"))["shadow"]["requests"] == requests

    await pod.until(copied, f"{requests} copies are counted")


async def test_copy_carries_body_and_prediction_id_and_says_that_it_is_one(pod) -> None:
    async with running("a") as a, running("b") as b:
        await pod.apply(wine(a, b, mirror="wine-b"))
        status, headers, body = await pod.call(
            "/shop/wine/v2/infer?x=1", data=b"payload", headers={"x-user": "u"}
        )
        assert (status, body["backend"], headers["x-model-revision"]) == (200, "a", "wine-a")
        assert "x-perennial-shadow" not in body["headers"]
        await pod.until(lambda: b.seen, "the copy has arrived")
        copy = b.seen[0]
        assert (copy["path"], copy["size_bytes"]) == ("/v2/infer?x=1", len(b"payload"))
        assert copy["headers"]["x-prediction-id"] == headers["x-prediction-id"]
        assert copy["headers"]["x-perennial-shadow"] == "true"
        assert copy["headers"]["x-model-revision"] == "wine-b"
        assert copy["headers"]["x-user"] == "u"
        ours = ("x-envoy-upstream", "x-perennial-shadow-")
        assert not [name for name in copy["headers"] if name.startswith(ours)]


async def test_copies_are_counted_apart_with_errors_and_slow_ones(pod) -> None:
    async with running("a") as a, running("b", status=500, delay_s=1.2) as b:
        await pod.apply(wine(a, b, mirror="wine-b", latency_budget_ms=1000))
        assert {status for status, _, _ in await pod.call_many("/shop/wine/v2", 40)} == {200}
        await until_copied(pod, 40)
        want = NOTHING_COUNTED | {"shadow": {"requests": 40, "errors": 40, "slow": 40}}
        await pod.until_counts("shop/wine-b", **want)
        assert await pod.counts("shop/wine-a") == NOTHING_COUNTED | {"requests": 40}


async def test_share_of_copies_is_inside_its_interval(pod) -> None:
    async with running("a") as a, running("b") as b:
        await pod.apply(wine(a, b, mirror="wine-b", mirror_percent=25))
        await pod.call_many("/shop/wine/v2", 800)
        # One more that is surely copied: once it is there, so are those before it.
        await pod.apply(wine(a, b, mirror="wine-b", generation=2))
        await pod.call("/shop/wine/v2/last")
        await pod.until(lambda: any(c["path"] == "/v2/last" for c in b.seen), "the last copy has arrived")
        assert_share(len(b.seen) - 1, 800, 0.25)


async def test_shadow_that_hangs_delays_no_answer_and_holds_only_so_many_requests(pod) -> None:
    async with running("a") as a, running("b") as b:
        b.hold()
        await pod.apply(wine(a, b, mirror="wine-b"))
        most = MAX_MIRRORED_REQUESTS + MAX_WAITING_COPIES
        count = most + 100
        answers = await pod.call_many("/shop/wine/v2", count, parallel=32)
        # All were answered while the copies hang.
        assert {status for status, _, _ in answers} == {200}
        b.released.set()

        async def all_accounted_for() -> bool:
            arrived = (await pod.counts("shop/wine-b"))["shadow"]["requests"]
            async with pod.client.get(f"{pod.agent_url}/metrics") as response:
                text = await response.text()
            dropped = f'perennial_gateway_copies_dropped_total{{namespace="shop",revision="wine-b"}} {count - arrived}.0'
            return arrived == b.requests and dropped in text

        await pod.until(all_accounted_for, "each copy is counted as arrived or dropped")
        assert MAX_MIRRORED_REQUESTS <= b.requests <= most
        assert (await pod.counts("shop/wine-b"))["shadow"]["errors"] == 0


async def test_shadow_without_server_costs_nothing(pod) -> None:
    async with running("a") as a:
        await pod.apply(
            route("wine", Backend("wine-b", 0), Backend("wine-a", 100, (a.endpoint,)), mirror="wine-b")
        )
        assert {status for status, _, _ in await pod.call_many("/shop/wine/v2", 20)} == {200}
        assert await pod.counts("shop/wine-b") == NOTHING_COUNTED


async def test_client_can_not_pass_for_a_copy(pod) -> None:
    async with running("a") as a, running("b") as b:
        await pod.apply(wine(a, b))
        forged = {"x-perennial-shadow": "true", "x-perennial-shadow-cluster": "shop/wine-b"}
        _, headers, body = await pod.call("/shop/wine/v2", headers=forged)
        assert headers["x-model-revision"] == "wine-a"
        assert not [name for name in body["headers"] if name.startswith("x-perennial-")]


async def test_copy_that_hangs_is_given_up_in_the_routes_time_and_counted(pod) -> None:
    async with running("a") as a, running("b", delay_s=5.0) as b:
        await pod.apply(wine(a, b, mirror="wine-b", timeout_s=0.3))
        await pod.call("/shop/wine/v2")
        await pod.until_counts("shop/wine-b", shadow={"requests": 1, "errors": 1, "slow": 0})
