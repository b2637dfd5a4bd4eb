"""How routes, endpoints and weights change under a real Envoy, and what happens to bad ones."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter

from perennial_gateway.model import Backend, Endpoint, InvalidResource, Route, RouteKey

from tests.integration.gateway.backends import running
from tests.integration.gateway.harness import NOTHING_COUNTED, GatewayPod, route

DEAD = Endpoint("127.0.0.1", 1)
UNPARSABLE = Endpoint("not-an-address", 80)


async def test_weights_split_requests_and_switch_without_a_failed_one(pod) -> None:
    async with running("a") as a, running("b") as b:

        def wine(weight: int, generation: int):
            return route(
                "wine",
                Backend("wine-a", 100 - weight, (a.endpoint,)),
                Backend("wine-b", weight, (b.endpoint,)),
                generation=generation,
            )

        await pod.apply(wine(0, 1))
        for generation, weight in enumerate((25, 50, 100, 0), start=2):
            took_ms = await pod.apply(wine(weight, generation))
            answers = await pod.call_many("/shop/wine/v2", 400)
            share = Counter(headers["x-model-revision"] for _, headers, _ in answers)
            print(f"weight {weight} %: applied in {took_ms:.0f} ms, {share['wine-b'] / 4:.1f} % of 400")
            assert {status for status, _, _ in answers} == {200}
            # Five standard deviations of a binomial of 400.
            assert (
                abs(share["wine-b"] / 400 - weight / 100)
                <= 5 * (weight / 100 * (1 - weight / 100) / 400) ** 0.5
            )


async def test_endpoints_swapped_under_load_fail_no_request(pod) -> None:
    async with running("a") as a, running("b") as b:
        await pod.apply(route("wine", Backend("wine-a", 100, (a.endpoint,))))
        stop = asyncio.Event()
        statuses: Counter[int] = Counter()

        async def load() -> None:
            while not stop.is_set():
                status, _, _ = await pod.call("/shop/wine/v2")
                statuses[status] += 1

        tasks = [asyncio.create_task(load()) for _ in range(8)]
        took = []
        for i in range(30):
            endpoints = [(a.endpoint,), (b.endpoint,), (a.endpoint, b.endpoint)][i % 3]
            took.append(await pod.apply(route("wine", Backend("wine-a", 100, endpoints), generation=i + 2)))
        stop.set()
        await asyncio.gather(*tasks)
        print(f"30 swaps, {sum(statuses.values())} requests, median {sorted(took)[15]:.0f} ms")
        assert list(statuses) == [200]
        assert await pod.counts("shop/wine-a") == NOTHING_COUNTED | {"requests": sum(statuses.values())}


async def test_revision_that_loses_its_last_server_costs_no_request(pod) -> None:
    async with running("a") as a, running("b") as b:

        def both(generation: int, *endpoints: Endpoint) -> Route:
            backends = Backend("wine-a", 50, (a.endpoint,)), Backend("wine-b", 50, endpoints)
            return route("wine", *backends, generation=generation)

        await pod.apply(both(1, b.endpoint))
        stop = asyncio.Event()
        statuses: Counter[int] = Counter()

        async def load() -> None:
            while not stop.is_set():
                status, _, _ = await pod.call("/shop/wine/v2")
                statuses[status] += 1

        tasks = [asyncio.create_task(load()) for _ in range(8)]
        for i in range(20):
            await pod.apply(both(i + 2, *((b.endpoint,) if i % 2 else ())))
        stop.set()
        await asyncio.gather(*tasks)
        assert list(statuses) == [200]


async def test_retry_hides_a_dead_endpoint(pod) -> None:
    async with running("a") as a:
        await pod.apply(route("wine", Backend("wine-a", 100, (a.endpoint, DEAD))))
        answers = await pod.call_many("/shop/wine/v2", 100)
        assert {status for status, _, _ in answers} == {200}
        assert await pod.counts("shop/wine-a") == NOTHING_COUNTED | {"requests": 100}


async def test_server_that_dies_under_load_costs_only_what_it_was_answering(pod) -> None:
    async with running("a") as a, running("b") as b:
        await pod.apply(route("wine", Backend("wine-a", 100, (a.endpoint, b.endpoint))))
        first = await pod.call_many("/shop/wine/v2", 50)
        await b.stop()
        second = await pod.call_many("/shop/wine/v2", 100)
        assert {status for status, _, _ in first + second} == {200}


async def test_errors_are_the_servers_5xx_and_requests_that_reach_none(pod) -> None:
    async with running("a", status=500) as a, running("c", status=422) as c:
        await pod.apply(
            route("failing", Backend("failing-a", 100, (a.endpoint,))),
            route("dead", Backend("dead-a", 100, (DEAD,))),
            route("strict", Backend("strict-a", 100, (c.endpoint,))),
        )
        assert {s for s, _, _ in await pod.call_many("/shop/failing/v2", 20)} == {500}
        for status, headers, body in await pod.call_many("/shop/dead/v2", 10):
            assert (status, headers["x-model-revision"]) == (503, "dead-a")
            assert headers["x-prediction-id"]
            assert "error" in body
        assert {s for s, _, _ in await pod.call_many("/shop/strict/v2", 5)} == {422}
        assert (await pod.status())["counters"] == {
            "shop/failing-a": NOTHING_COUNTED | {"requests": 20, "errors": 20},
            "shop/dead-a": NOTHING_COUNTED | {"requests": 10, "errors": 10},
            "shop/strict-a": NOTHING_COUNTED | {"requests": 5, "invalid": 5},
        }


async def test_share_of_a_revision_without_servers_goes_to_the_others(pod) -> None:
    async with running("a") as a:
        await pod.apply(route("wine", Backend("wine-a", 50, (a.endpoint,)), Backend("wine-b", 50)))
        answers = await pod.call_many("/shop/wine/v2", 50)
        assert {(status, headers["x-model-revision"]) for status, headers, _ in answers} == {(200, "wine-a")}
        got = (await pod.status())["routes"]["shop/wine"]
        assert got["state"] == "Applied"
        assert "wine-b" in got["message"]


async def test_bad_route_is_quarantined_and_all_others_are_applied(pod) -> None:
    async with running("a") as a:
        good = [route(f"good-{i}", Backend(f"good-{i}-a", 100, (a.endpoint,))) for i in range(12)]
        bad = route("bad", Backend("bad-a", 100, (UNPARSABLE,)))
        illegal = route("Illegal_Name", Backend("x", 100, (a.endpoint,)))
        await pod.apply(*good, bad, illegal)
        for i in range(12):
            assert (await pod.call(f"/shop/good-{i}/v2"))[0] == 200
        routes = (await pod.status())["routes"]
        states = Counter(value["state"] for value in routes.values())
        assert states == {"Applied": 12, "Quarantined": 2}
        assert routes["shop/bad"]["generation"] == 0
        assert "Envoy refuses" in routes["shop/bad"]["message"]
        assert "DNS label" in routes["shop/Illegal_Name"]["message"]


async def test_route_that_turns_bad_keeps_its_last_good_form_until_it_is_mended(pod) -> None:
    async with running("a") as a, running("b") as b:
        other = route("other", Backend("other-a", 100, (b.endpoint,)))
        await pod.apply(other, route("wine", Backend("wine-a", 100, (a.endpoint,))))
        await pod.apply(other, route("wine", Backend("wine-a", 100, (UNPARSABLE,)), generation=2))
        got = (await pod.status())["routes"]["shop/wine"]
        assert (got["state"], got["generation"]) == ("Quarantined", 1)
        assert (await pod.call("/shop/wine/v2"))[2]["backend"] == "a"
        changed = route("other", Backend("other-a", 100, (a.endpoint,)), generation=2)
        await pod.apply(changed, route("wine", Backend("wine-a", 100, (UNPARSABLE,)), generation=2))
        assert (await pod.call("/shop/other/v2"))[2]["backend"] == "a"
        assert (await pod.call("/shop/wine/v2"))[2]["backend"] == "a"
        await pod.apply(changed, route("wine", Backend("wine-a", 100, (b.endpoint,)), generation=3))
        assert (await pod.status())["routes"]["shop/wine"]["state"] == "Applied"
        assert (await pod.call("/shop/wine/v2"))[2]["backend"] == "b"


async def test_unreadable_route_keeps_its_last_good_form(pod) -> None:
    async with running("a") as a:
        await pod.apply(route("wine", Backend("wine-a", 100, (a.endpoint,))))
        await pod.apply(
            invalid={RouteKey("shop", "wine"): InvalidResource("uid", 2, "spec.revisions: missing.")}
        )
        got = (await pod.status())["routes"]["shop/wine"]
        assert (got["state"], got["generation"], got["message"]) == (
            "Quarantined",
            1,
            "spec.revisions: missing.",
        )
        assert (await pod.call("/shop/wine/v2"))[0] == 200


async def test_restart_of_envoy_changes_the_epoch_and_keeps_serving(pod) -> None:
    async with running("a") as a:
        await pod.apply(route("wine", Backend("wine-a", 100, (a.endpoint,))))
        await pod.call_many("/shop/wine/v2", 10)
        before = await pod.status()
        await pod.stop_envoy(signal.SIGKILL)
        await pod.start_envoy()
        # At once, from the files: the agent has no part in it.
        assert (await pod.call("/shop/wine/v2"))[0] == 200
        after = await pod.status()
        assert before["epoch"] != after["epoch"]
        assert before["counters"]["shop/wine-a"]["requests"] == 10
        assert after["counters"]["shop/wine-a"]["requests"] == 1


async def test_restart_of_the_agent_changes_neither_epoch_nor_traffic(pod) -> None:
    async with running("a") as a:
        await pod.apply(route("wine", Backend("wine-a", 100, (a.endpoint,))))
        await pod.call("/shop/wine/v2")
        before = await pod.status()
        await pod.stop_agent()
        assert (await pod.call("/shop/wine/v2"))[0] == 200
        await pod.start_agent()
        await pod.until(
            lambda: pod.agent.statuses()[RouteKey("shop", "wine")].state == "Applied", "applied again"
        )
        after = await pod.status()
        assert before["epoch"] == after["epoch"]
        assert after["counters"]["shop/wine-a"]["requests"] == 2


async def test_change_made_while_envoy_is_down_is_applied_when_it_is_back(pod) -> None:
    async with running("a") as a, running("b") as b:
        await pod.apply(route("wine", Backend("wine-a", 100, (a.endpoint,))))
        await pod.stop_envoy(signal.SIGKILL)
        pod.source.set(route("wine", Backend("wine-a", 100, (b.endpoint,)), generation=2))
        await asyncio.sleep(0.3)
        got = pod.agent.statuses()[RouteKey("shop", "wine")]
        assert (got.state, got.generation) == ("Pending", 1)
        await pod.start_envoy()
        await pod.until(lambda: pod.agent.statuses()[RouteKey("shop", "wine")].generation == 2, "applied")
        assert (await pod.call("/shop/wine/v2"))[2]["backend"] == "b"


async def test_removed_route_keeps_its_cluster_until_its_requests_have_ended(pod) -> None:
    async with running("slow", delay_s=2.0) as slow:
        await pod.apply(route("wine", Backend("wine-a", 100, (slow.endpoint,))))
        active = asyncio.create_task(pod.call("/shop/wine/v2"))
        await pod.until(lambda: slow.requests == 1, "the request has arrived")
        await pod.apply()
        assert (await pod.call("/shop/wine/v2"))[0] == 404
        assert "shop/wine-a" in (await pod.status())["counters"]
        assert (await active)[0] == 200

        async def gone() -> bool:
            return "shop/wine-a" not in (await pod.status())["counters"]

        await pod.until(gone, "the cluster is gone")
        assert json.loads(pod.agent_settings.cds_path.read_bytes())["resources"] == []


async def test_agent_is_ready_only_while_envoy_serves_the_current_routes(observer) -> None:
    async with GatewayPod(observer.port, ready_lag_s=0.5) as pod, running("a") as a:

        async def readiness() -> int:
            async with pod.client.get(f"{pod.agent_url}/readyz") as response:
                return response.status

        assert await readiness() == 503  # the source has not been read yet
        await pod.apply(route("wine", Backend("wine-a", 100, (a.endpoint,))))
        assert await readiness() == 200
        await pod.stop_envoy(signal.SIGKILL)
        assert await readiness() == 503
        async with pod.client.get(f"{pod.agent_url}/status") as response:
            assert response.status == 503
        async with pod.client.get(f"{pod.agent_url}/healthz") as response:
            assert response.status == 200


async def test_metrics_tell_states_and_counts_per_revision(pod) -> None:
    async with running("a") as a:
        await pod.apply(route("wine", Backend("wine-a", 100, (a.endpoint,))))
        await pod.call_many("/shop/wine/v2", 3)
        async with pod.client.get(f"{pod.agent_url}/metrics") as response:
            text = await response.text()
        assert (
            'perennial_gateway_requests_total{namespace="shop",revision="wine-a",traffic="live"} 3.0' in text
        )
        assert 'perennial_router_routes{state="Applied"} 1.0' in text
        assert "perennial_router_ready 1.0" in text
        for name in ("offered", "taken"):
            assert f"perennial_router_clients_{name}_total 0.0" in text


async def test_applied_tells_one_routes_state_even_while_envoy_is_down(pod) -> None:
    async def applied(name: str):
        async with pod.client.get(f"{pod.agent_url}/applied", params={"route": name}) as response:
            return response.status, await response.json()

    async with running("a") as a:
        await pod.apply(route("wine", Backend("wine-a", 100, (a.endpoint,)), generation=3))
        await pod.stop_envoy(signal.SIGKILL)
        status, got = await applied("shop/wine")
        assert (status, got["uid"], got["generation"], got["state"]) == (200, "uid", 3, "Applied")
        assert (await applied("shop/beer"))[0] == 404
        assert (await applied("wine"))[0] == 404
