"""Clients bound to revisions: the split is as asked, nobody changes sides, and another salt draws anew."""

from __future__ import annotations

import asyncio
import json
import re
from http.cookies import SimpleCookie

import pytest
from perennial_gateway.model import Backend, Route, Stickiness

from tests.integration.gateway.backends import running
from tests.integration.gateway.harness import GatewayPod, route
from tests.integration.gateway.split import assert_share, interval_999

BY_HEADER = Stickiness("x-user", "wine-1")
BY_COOKIE = Stickiness("arm", "wine-1", is_cookie=True, ttl_s=3600)
USERS = [f"user-{i}" for i in range(1500)]


@pytest.fixture
async def servers():
    async with running("a") as a, running("b") as b, running("c") as c:
        yield a, b, c


def wine(servers, weight: int, generation: int, sticky: Stickiness = BY_HEADER) -> Route:
    stable, canary, _ = servers
    return route(
        "wine",
        Backend("wine-b", weight, (canary.endpoint,)),
        Backend("wine-a", 100 - weight, (stable.endpoint,)),
        generation=generation,
        sticky=sticky,
    )


async def canary_users(pod: GatewayPod) -> set[str]:
    """Return which users get the canary, asked once each."""
    got = await pod.arms("/shop/wine/v2", USERS, "x-user")
    return {user for user, arm in got.items() if arm == "wine-b"}


async def test_split_of_clients_is_inside_its_interval_and_each_stays(pod, servers) -> None:
    await pod.apply(wine(servers, 20, 1))
    first = await canary_users(pod)
    assert_share(len(first), len(USERS), 0.20)
    assert await canary_users(pod) == first


async def test_split_without_stickiness_is_inside_its_interval(pod, servers) -> None:
    plain = wine(servers, 30, 1, sticky=None)
    await pod.apply(plain)
    answers = await pod.call_many("/shop/wine/v2", 1500)
    assert_share(sum(h["x-model-revision"] == "wine-b" for _, h, _ in answers), 1500, 0.30)


async def test_raising_a_weight_only_adds_clients_and_lowering_only_removes_them(pod, servers) -> None:
    seen: list[set[str]] = []
    for generation, weight in enumerate((5, 25, 50, 10, 0), start=1):
        await pod.apply(wine(servers, weight, generation))
        seen.append(await canary_users(pod))
        assert_share(len(seen[-1]), len(USERS), weight / 100)
    at_5, at_25, at_50, at_10, at_0 = seen
    assert at_5 < at_10 < at_25 < at_50
    assert at_0 == set()


async def test_another_salt_draws_each_client_anew(pod, servers) -> None:
    await pod.apply(wine(servers, 50, 1))
    first = await canary_users(pod)
    await pod.apply(wine(servers, 50, 2, Stickiness("x-user", "wine-2")))
    second = await canary_users(pod)
    # Independent draws: half of the first arm is in the second arm again.
    assert_share(len(first & second), len(first), 0.50)


async def test_arm_that_loses_its_share_moves_no_client_of_another(pod, servers) -> None:
    places = Stickiness("x-user", "wine-1", places=(("wine-c", 20), ("wine-b", 30), ("wine-a", 50)))
    a, b, c = (server.endpoint for server in servers)

    async def sides(generation: int, *weights: int) -> dict[str, str]:
        parts = zip(("wine-c", "wine-b", "wine-a"), weights, (c, b, a), strict=True)
        backends = [Backend(name, weight, (endpoint,)) for name, weight, endpoint in parts if weight >= 0]
        await pod.apply(route("wine", *backends, generation=generation, sticky=places))
        return await pod.arms("/shop/wine/v2", USERS, "x-user")

    before = await sides(1, 20, 30, 50)
    for generation, weights in ((2, (0, 30, 70)), (3, (-1, 30, 70))):
        after = await sides(generation, *weights)
        moved = {(before[user], after[user]) for user in USERS if before[user] != after[user]}
        assert moved == {("wine-c", "wine-a")}


async def test_arm_without_server_moves_no_other_client(pod, servers) -> None:
    stable, canary, other = servers

    def three(*canary_endpoints, generation: int) -> Route:
        return route(
            "wine",
            Backend("wine-b", 20, canary_endpoints),
            Backend("wine-c", 30, (other.endpoint,)),
            Backend("wine-a", 50, (stable.endpoint,)),
            generation=generation,
            sticky=BY_HEADER,
        )

    await pod.apply(three(canary.endpoint, generation=1))
    before = await pod.arms("/shop/wine/v2", USERS[:500], "x-user")
    await pod.apply(three(generation=2))
    after = await pod.arms("/shop/wine/v2", USERS[:500], "x-user")
    want = {user: "wine-a" if arm == "wine-b" else arm for user, arm in before.items()}
    assert after == want


@pytest.mark.parametrize("headers", [{}, {"x-user": ""}])
async def test_request_without_the_header_is_drawn_each_time(pod, servers, headers) -> None:
    await pod.apply(wine(servers, 50, 1))
    answers = await pod.call_many("/shop/wine/v2", 400, headers=headers)
    assert_share(sum(h["x-model-revision"] == "wine-b" for _, h, _ in answers), 400, 0.50)


@pytest.mark.parametrize(
    ("host", "path", "want_path"), [("gateway", "/shop/wine/v2", "/shop/wine/"), ("wine.shop", "/v2", "/")]
)
async def test_cookie_is_issued_once_and_leads_to_the_same_arm(pod, servers, host, path, want_path) -> None:
    await pod.apply(wine(servers, 50, 1, BY_COOKIE))
    for _ in range(30):
        _, headers, _ = await pod.call(path, host=host)
        morsel = SimpleCookie(headers["set-cookie"])["arm"]
        got = (morsel["path"], morsel["max-age"], morsel["httponly"], morsel["samesite"])
        assert got == (want_path, "3600", True, "Lax")
        sent = {"cookie": f"theme=dark; arm={morsel.value}; lang=de"}
        _, again, _ = await pod.call(path, host=host, headers=sent)
        assert again["x-model-revision"] == headers["x-model-revision"]
        assert "set-cookie" not in again


@pytest.mark.parametrize(
    "header", ["arm={}", "theme=dark; arm={}", "arm={}; lang=de", "a=b;arm={};arm=u9", "xarm=u9; arm={}"]
)
async def test_client_is_one_to_router_and_server_from_the_first_answer_on_whatever_other_cookies_it_has(
    pod, servers, header
) -> None:
    stable, *_ = servers
    await pod.apply(wine(servers, 0, 1, BY_COOKIE))
    _, headers, _ = await pod.call("/shop/wine/v2")
    cookie = SimpleCookie(headers["set-cookie"])["arm"].value
    await pod.call("/shop/wine/v2", headers={"cookie": header.format(cookie)})
    assert [sent["headers"]["x-perennial-client-key"] for sent in stable.seen] == [cookie, cookie]
    await pod.until_counts("shop/wine-a", requests=2, users=1)


async def test_cookies_are_split_as_asked_and_another_salt_draws_anew(pod, servers) -> None:
    await pod.apply(wine(servers, 30, 1, BY_COOKIE))
    answers = await pod.call_many("/shop/wine/v2", 1000)
    arms = {SimpleCookie(h["set-cookie"])["arm"].value: h["x-model-revision"] for _, h, _ in answers}
    assert len(arms) == 1000
    first = {cookie for cookie, arm in arms.items() if arm == "wine-b"}
    assert_share(len(first), 1000, 0.30)
    await pod.apply(wine(servers, 30, 2, Stickiness("arm", "wine-2", is_cookie=True)))
    again = await pod.arms("/shop/wine/v2", [f"arm={c}" for c in first], "cookie")
    stayed = sum(arm == "wine-b" for arm in again.values())
    low, high = interval_999(len(first), 0.30)
    assert low <= stayed <= high


async def test_users_are_counted_once_by_arm_and_failing_ones_by_their_first_5xx(pod, servers) -> None:
    _, canary, _ = servers
    await pod.apply(wine(servers, 50, 1))
    arms = await pod.arms("/shop/wine/v2", USERS[:200], "x-user")
    sizes = {arm: sum(a == arm for a in arms.values()) for arm in ("wine-a", "wine-b")}
    canary.status = 500
    failing = [user for user, arm in arms.items() if arm == "wine-b"][:7]
    for _ in range(2):
        await pod.arms("/shop/wine/v2", failing, "x-user")
    await pod.until_counts("shop/wine-b", users=sizes["wine-b"], failingUsers=7, errors=14)
    await pod.until_counts("shop/wine-a", users=sizes["wine-a"], failingUsers=0)
    await pod.apply(wine(servers, 50, 2, Stickiness("x-user", "wine-2")))
    await pod.until_counts("shop/wine-b", users=0, failingUsers=0, errors=14)


async def test_users_stay_counted_when_the_agent_restarts(pod, servers) -> None:
    await pod.apply(wine(servers, 0, 1))
    await pod.arms("/shop/wine/v2", USERS[:50], "x-user")
    await pod.until_counts("shop/wine-a", users=50)
    await pod.until(pod.agent_settings.clients_path.exists, "the counts are saved")
    saved = pod.agent_settings.clients_path
    await pod.until(lambda: '"shop/wine-a"' in saved.read_text(), "the route's counts are saved")
    await pod.stop_agent()
    # Some of these may be lost, but none of them is refused.
    assert len(await pod.arms("/shop/wine/v2", USERS[:60], "x-user")) == 60
    await pod.start_agent()
    await pod.arms("/shop/wine/v2", USERS[40:60], "x-user")
    await pod.until_counts("shop/wine-a", users=60)


async def test_agent_that_hangs_costs_counts_and_neither_a_request_nor_memory_without_bound(
    pod, servers
) -> None:
    await pod.apply(wine(servers, 0, 1))
    await pod.stop_agent()
    pod.agent_settings.clients_socket.unlink(missing_ok=True)
    over = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    # Takes connections, reads what fits into its buffer and never answers.
    server = await asyncio.start_unix_server(hang, pod.agent_settings.clients_socket, limit=1024)
    before = await allocated_bytes(pod)
    name = "x" * 7_000
    for _ in range(3):
        got = await pod.call_many("/shop/wine/v2", 2_000, headers={"x-user": name})
        assert {status for status, _, _ in got} == {200}
    # Of 40 MiB and more that were told, Envoy holds a dozen calls of 256 KiB, in two copies.
    assert await allocated_bytes(pod) - before < 20 * 2**20
    over.set()
    server.close()
    await pod.start_agent()
    await pod.apply(wine(servers, 0, 2))

    async def is_counted() -> bool:
        await pod.arms("/shop/wine/v2", USERS[:5], "x-user")
        # And perhaps the one of before, of whom some calls may be left.
        return (await pod.counts("shop/wine-a")).get("users", 0) >= 5

    await pod.until(is_counted, "the next clients are counted")
    async with pod.client.get(f"{pod.agent_url}/metrics") as response:
        found = dict(
            re.findall(
                r"^perennial_router_clients_(\w+)_total ([0-9.]+)", await response.text(), re.MULTILINE
            )
        )
    assert float(found["taken"]) < float(found["offered"]) - 1_000


async def allocated_bytes(pod: GatewayPod) -> int:
    """Return what Envoy has allocated."""
    return int(json.loads(await pod.admin._call("GET", "/memory", {}))["allocated"])


async def test_client_can_not_choose_how_it_is_counted_or_drawn(pod, servers) -> None:
    await pod.apply(wine(servers, 50, 1, BY_COOKIE))
    forged = {"x-perennial-client-key": "same", "x-perennial-latency-budget": "1ms"}
    answers = await pod.call_many("/shop/wine/v2", 100, headers=forged)
    assert len({h["set-cookie"] for _, h, _ in answers}) == 100
    assert {body["headers"].get("x-perennial-latency-budget") for *_, body in answers} == {None}


async def raw_arm(pod: GatewayPod, header: bytes) -> str:
    """Return who answers a request with a header of any bytes, which an HTTP client would not send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", pod.envoy_settings.listen_port)
    writer.write(
        b"GET /shop/wine/v2 HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n" + header + b"\r\n\r\n"
    )
    answer = (await reader.read()).decode("latin-1").lower()
    writer.close()
    return answer.split("x-model-revision: ")[1].split("\r\n")[0]


@pytest.mark.parametrize(
    ("sticky", "header"), [(BY_HEADER, b"x-user: %d\xe9"), (BY_COOKIE, b"cookie: a=\xe9; arm=%d; b=\xff")]
)
async def test_bytes_that_are_no_text_keep_no_client_from_its_arm(pod, servers, sticky, header) -> None:
    await pod.apply(wine(servers, 50, 1, sticky))
    arms = [{await raw_arm(pod, header % user) for _ in range(4)} for user in range(12)]
    assert all(len(arm) == 1 for arm in arms), arms
    assert len(set.union(*arms)) == 2
