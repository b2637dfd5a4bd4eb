"""What is counted against a latency budget."""

from __future__ import annotations

from perennial_gateway.model import Backend, Route

from tests.integration.gateway.backends import running
from tests.integration.gateway.harness import NOTHING_COUNTED, route


def wine(*endpoints, budget_ms: int | None = 1000, generation: int = 1, **fields) -> Route:
    return route(
        "wine",
        Backend("wine-a", 100, endpoints),
        generation=generation,
        latency_budget_ms=budget_ms,
        **fields,
    )


async def test_slow_requests_are_counted_and_others_not(pod) -> None:
    async with running("a") as a, running("slow", delay_s=1.2) as slow:
        await pod.apply(wine(slow.endpoint))
        await pod.call_many("/shop/wine/v2", 12)
        await pod.until_counts("shop/wine-a", requests=12, slow=12)
        await pod.apply(wine(a.endpoint, generation=2))
        await pod.call_many("/shop/wine/v2", 30, parallel=2)
        # The counter outlives the change of endpoints, and all 30 are under a second.
        await pod.until_counts("shop/wine-a", requests=42, slow=12)


async def test_route_without_budget_counts_none(pod) -> None:
    async with running("slow", delay_s=1.2) as slow:
        await pod.apply(wine(slow.endpoint, budget_ms=None))
        await pod.call_many("/shop/wine/v2", 5)
        assert await pod.counts("shop/wine-a") == NOTHING_COUNTED | {"requests": 5}


async def test_answer_that_never_came_is_slow_and_failed(pod) -> None:
    async with running("hanging", delay_s=5.0) as hanging:
        await pod.apply(wine(hanging.endpoint, budget_ms=200, timeout_s=0.4))
        assert (await pod.call("/shop/wine/v2"))[0] == 504
        await pod.until_counts("shop/wine-a", requests=1, errors=1, slow=1)


async def test_each_route_has_a_budget_of_its_own(pod) -> None:
    async with running("slow", delay_s=1.2) as slow:
        await pod.apply(
            wine(slow.endpoint, budget_ms=1000),
            route("beer", Backend("beer-a", 100, (slow.endpoint,)), latency_budget_ms=30_000),
        )
        await pod.call_many("/shop/wine/v2", 4)
        await pod.call_many("/shop/beer/v2", 4)
        await pod.until_counts("shop/wine-a", requests=4, slow=4)
        assert (await pod.counts("shop/beer-a"))["slow"] == 0


async def test_explanations_reach_the_model_by_every_address_and_count_for_nothing(pod) -> None:
    async with running("broken", status=500, delay_s=0.02) as broken:
        await pod.apply(wine(broken.endpoint, budget_ms=1))
        explain = "/v2/models/wine/explain"
        assert (await pod.call(f"/shop/wine{explain}"))[0] == 500
        assert (await pod.call(f"{explain}?seed=1", host="wine.shop"))[0] == 500
        assert (await pod.call("/shop/wine/v2/models/wine/expl%61in"))[0] == 500
        assert [seen["path"].partition("?")[0] for seen in broken.seen] == [explain] * 3
        # A model may be called so, and its predictions count.
        assert (await pod.call("/shop/wine/v2/models/explain/infer"))[0] == 500
        await pod.until_counts("shop/wine-a", requests=1, errors=1, slow=1)


async def test_requests_that_no_server_is_ready_to_take_are_counted_by_route(pod) -> None:
    async with running("a") as a:
        await pod.apply(wine(), route("beer", Backend("beer-a", 100, (a.endpoint,))))
        assert (await pod.call("/shop/wine/v2"))[0] == 503
        assert (await pod.call("/shop/wine/v2/explain"))[0] == 503
        # What was never a model's, and what a model answers, are none of them.
        assert (await pod.call("/shop/cider/v2"))[0] == 404
        a.status = 503
        assert (await pod.call("/shop/beer/v2"))[0] == 503

        async def counted() -> bool:
            return (await pod.status())["unserved"] == {"shop/wine": 2}

        await pod.until(counted, "two requests of wine found no server")
