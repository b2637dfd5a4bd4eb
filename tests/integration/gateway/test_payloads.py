"""The prediction log of servers that keep none: whole, once, and never in a client's way."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tritonclient.http.aio as triton
from perennial_gateway.model import Backend, RecordedPart, Stickiness
from perennial_gateway.prediction_log.choosing import is_sampled, name_client

from tests.integration.gateway.backends import running
from tests.integration.gateway.foreign import (
    INFER,
    LoggedRows,
    Served,
    answer_doubled,
    answer_doubled_raw,
    question,
    serving,
)
from tests.integration.gateway.harness import GatewayPod, route

ALL = RecordedPart()


@dataclass
class Logged:
    """A gateway before a foreign server, and the observer that gets its log."""

    pod: GatewayPod
    server: Served
    observer: LoggedRows

    async def apply(self, log: RecordedPart | None = ALL, **fields: Any) -> None:
        await self.pod.apply(
            route("wine", Backend("wine-a", 100, (self.server.endpoint,), log=log), **fields)
        )

    async def counts(self) -> dict[str, int]:
        """The agent's counters of the log, dropped ones by reason."""
        async with self.pod.client.get(f"{self.pod.agent_url}/metrics") as response:
            text = await response.text()
        found = re.findall(
            r'^perennial_router_log_(\w+?)_total(?:\{reason="(\w+)"\})? (\d+)', text, re.MULTILINE
        )
        return {reason or name: int(value) for name, reason, value in found}

    async def until(self, **want: int) -> None:
        async def reached() -> bool:
            got = await self.counts()
            return all(got.get(name, 0) == value for name, value in want.items())

        try:
            await self.pod.until(reached, f"the log's counters are {want}")
        except AssertionError as error:
            raise AssertionError(f"want {want}, got {await self.counts()}") from error


@asynccontextmanager
async def logged(answer: Any = answer_doubled, **settings: Any) -> AsyncIterator[Logged]:
    observer = LoggedRows()
    async with (
        serving(observer.answer) as at,
        serving(answer) as server,
        GatewayPod(at.port, **settings) as pod,
    ):
        yield Logged(pod, server, observer)
        observer.released.set()


async def test_each_answered_request_is_logged_once_with_what_was_asked_and_answered(tmp_path) -> None:
    token = tmp_path / "token"
    token.write_text("gateways\n")
    async with logged(token_file=token) as it:
        await it.apply()
        want = {}
        for value in range(30):
            status, headers, _ = await it.pod.call(INFER, data=question(value), headers={"x-user-id": "ann"})
            assert (status, headers["x-model-revision"]) == (200, "wine-a")
            want[headers["x-prediction-id"]] = (value, 2 * value)
        await it.until(taken=30, sent=30)
        assert sorted(it.observer.ids) == sorted(want)
        assert it.observer.rows == want
        paths = {(p["path"], p["token"], p["revision"], p["percent"]) for p in it.observer.posts}
        assert paths == {("/v1/namespaces/shop/deployments/wine/log", "Bearer gateways", "wine-a", 100)}
        clients = {client for group in it.observer.groups for client in group["clients"]}
        assert clients == {name_client("ann", "shop/wine")}


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_raw_tensors_of_tritons_client_are_logged_as_numbers(compression) -> None:
    async with logged(answer=answer_doubled_raw) as it:
        await it.apply()
        async with triton.InferenceServerClient(f"{it.pod.url.removeprefix('http://')}/shop/wine") as client:
            values = triton.InferInput("alcohol", [300], "FP32")
            values.set_data_from_numpy(np.arange(300, dtype=np.float32))
            got = await client.infer("m", [values], request_compression_algorithm=compression)
        assert got.as_numpy("predict")[299] == 598.0
        await it.until(taken=1, sent=1)
        (group,) = it.observer.groups
        assert group["inputs"] == {"alcohol": [float(i) for i in range(300)]}
        assert group["outputs"] == {"predict": [2.0 * i for i in range(300)]}


async def test_only_predictions_that_were_answered_are_logged(pod_of_two) -> None:
    it = pod_of_two
    statuses = [
        (await it.pod.call(INFER, data=b"{}"))[0],
        (await it.pod.call("/shop/wine/v2/models/m", data=question(1.0)))[0],
        (await it.pod.call("/shop/wine/v2/models/m/explain", data=question(1.0)))[0],
        (await it.pod.call("/shop/own/v2/models/m/infer", data=question(1.0)))[0],
        (await it.pod.call(INFER, data=question(1.0, 2.0)))[0],
    ]
    assert statuses == [422, 200, 200, 200, 200]
    await it.until(taken=1, sent=1)
    assert [group["sizes"] for group in it.observer.groups] == [[2]]


@pytest.fixture
async def pod_of_two() -> AsyncIterator[Logged]:
    """One model whose server keeps no log, and one whose server does."""
    async with logged() as it:
        own = route("own", Backend("own-a", 100, (it.server.endpoint,)))
        await it.pod.apply(route("wine", Backend("wine-a", 100, (it.server.endpoint,), log=ALL)), own)
        yield it


async def test_sample_columns_and_sides_are_those_of_the_logger() -> None:
    async with logged() as it:
        await it.apply(RecordedPart(percent=40, has_outputs=False, exclude=("ssn",)))
        answers = await it.pod.call_many(INFER, 50, data=question(1.0))
        ids = {headers["x-prediction-id"] for _, headers, _ in answers}
        want = {name for name in ids if is_sampled(name, 40)}
        await it.until(taken=50, sent=len(want), left_out=50 - len(want))
        assert set(it.observer.ids) == want
        assert {tuple(group["outputs"]) for group in it.observer.groups} == {()}
        assert {post["percent"] for post in it.observer.posts} == {40}


async def test_copies_are_logged_as_such_under_the_live_requests_id() -> None:
    async with logged() as it, running("live") as live:
        shadow = Backend("wine-b", 0, (it.server.endpoint,), log=ALL)
        await it.pod.apply(route("wine", shadow, Backend("wine-a", 100, (live.endpoint,)), mirror="wine-b"))
        _, headers, _ = await it.pod.call(INFER, data=question(3.0))
        await it.until(taken=1, sent=1)
        (post,) = it.observer.posts
        (group,) = post["groups"]
        assert (post["revision"], group["shadow"], group["outputs"]) == ("wine-b", True, {"predict": [6.0]})
        assert group["ids"] == [headers["x-prediction-id"]]


@pytest.mark.parametrize("is_cookie", [True, False])
async def test_clients_of_a_sticky_route_are_told_apart_as_its_server_would(is_cookie) -> None:
    async with logged() as it:
        await it.apply(sticky=Stickiness("arm", "s1", is_cookie=is_cookie))
        sent = {"cookie": "other=1; arm=ann"} if is_cookie else {"arm": "ann"}
        await it.pod.call(INFER, data=question(1.0), headers=sent)
        await it.until(sent=1)
        assert it.observer.groups[0]["clients"] == [name_client("ann", "shop/wine")]


async def test_cookie_that_is_only_just_issued_names_the_client_already() -> None:
    async with logged() as it:
        await it.apply(sticky=Stickiness("arm", "s1", is_cookie=True))
        _, headers, _ = await it.pod.call(INFER, data=question(1.0))
        issued = headers["set-cookie"].partition(";")[0].removeprefix("arm=")
        await it.until(sent=1)
        assert it.observer.groups[0]["clients"] == [name_client(issued, "shop/wine")]


async def test_bodies_that_clients_and_servers_compress_are_read() -> None:
    async with logged() as it:
        await it.apply()
        await it.pod.call(INFER, data=question(4.0), headers={"accept-encoding": "gzip"})
        await it.until(sent=1)
        assert list(it.observer.rows.values()) == [(4.0, 8.0)]


async def test_batch_that_unpacks_to_many_times_its_size_goes_in_several_messages() -> None:
    async with logged(log_interval_s=600.0) as it:
        await it.apply()
        packed = gzip.compress(question(*([0.0] * 60_000)))
        sent = {"content-encoding": "gzip", "accept-encoding": "gzip"}
        for _ in range(4):
            assert (await it.pod.call(INFER, data=packed, headers=sent))[0] == 200
        await it.until(taken=4, sent=0)
        assert it.pod.collector.queue_bytes < 4 * 8_192
        await it.pod.stop_agent()
        assert [post["groups"][0]["sizes"] for post in it.observer.posts] == [[60_000] * 2] * 2
        assert it.pod.collector.counts.sent == 4


async def test_what_is_too_large_or_unreadable_is_answered_and_counted() -> None:
    async with logged() as it:
        await it.apply()
        large = question(*([0.123456789012345] * 60_000))
        assert len(large) > 1_000_000
        status, _, answer = await it.pod.call(INFER, data=large)
        assert (status, len(answer["outputs"][0]["data"])) == (200, 60_000)
        odd = b'{"inputs": [{"name": "x", "shape": [7], "data": [1.0]}]}'
        assert (await it.pod.call(INFER, data=odd))[0] == 200
        await it.until(taken=2, TooLarge=1, Unreadable=1, sent=0)


async def test_observer_that_hangs_delays_no_answer_and_all_are_counted() -> None:
    async with logged(log_queue_bytes=1024 * 1024, log_batch_bytes=16_384) as it:
        await it.apply()
        it.observer.released.clear()
        padding = question(*([0.1] * 4_000))
        answers = await it.pod.call_many(INFER, 150, data=padding)
        assert {status for status, _, _ in answers} == {200}
        await it.until(sent=0)
        it.observer.released.set()

        async def all_accounted_for() -> bool:
            got = await it.counts()
            return got["sent"] + got.get("QueueFull", 0) + got["offered"] - got["taken"] == 150

        await it.pod.until(all_accounted_for, "each prediction is counted as sent or dropped")
        got = await it.counts()
        assert got.get("QueueFull", 0) > 0
        assert len(it.observer.ids) == len(set(it.observer.ids)) == got["sent"]


async def test_observer_that_is_down_costs_entries_and_no_prediction() -> None:
    async with logged(log_attempts=1) as it:
        await it.apply()
        it.observer.status = 503
        assert {s for s, _, _ in await it.pod.call_many(INFER, 20, data=question(1.0))} == {200}
        await it.until(taken=20, Undelivered=20)
        it.observer.status = 400
        assert (await it.pod.call(INFER, data=question(1.0)))[0] == 200
        await it.until(Refused=1)
        it.observer.status = 202
        assert (await it.pod.call(INFER, data=question(1.0)))[0] == 200
        await it.until(sent=1)


async def test_deployment_that_the_observer_hears_of_later_loses_nothing_and_holds_up_no_other() -> None:
    async with logged(log_interval_s=0.1) as it:
        new = route("new", Backend("new-a", 100, (it.server.endpoint,), log=ALL))
        await it.pod.apply(route("wine", Backend("wine-a", 100, (it.server.endpoint,), log=ALL)), new)
        it.observer.unknown.add("new")

        async def has_asked() -> bool:
            return it.observer.not_found > 0

        for number in (1, 2):
            assert (await it.pod.call("/shop/new/v2/models/m/infer", data=question(number)))[0] == 200
            await it.pod.until(has_asked, "the observer was sent what it can't place")
            assert (await it.pod.call(INFER, data=question(number)))[0] == 200
            await it.until(taken=2 * number, sent=number)
        assert it.pod.collector.queue_bytes > 0
        it.observer.unknown.clear()
        await it.until(sent=4)
        assert sorted(it.observer.rows.values()) == [(1.0, 2.0), (1.0, 2.0), (2.0, 4.0), (2.0, 4.0)]
        assert it.pod.collector.queue_bytes == 0


async def test_deployment_that_the_observer_never_hears_of_is_given_up_and_counted() -> None:
    async with logged(log_unknown_s=0.0) as it:
        await it.apply()
        it.observer.unknown.add("wine")
        assert (await it.pod.call(INFER, data=question(1.0)))[0] == 200
        await it.until(taken=1, UnknownDeployment=1)
    async with logged() as it:
        await it.apply()
        it.observer.unknown.add("wine")
        assert (await it.pod.call(INFER, data=question(1.0)))[0] == 200
        await it.until(taken=1)
        await it.pod.stop_agent()
        assert it.pod.collector.counts.dropped["Shutdown"] == 1


async def test_agent_that_is_gone_costs_entries_and_no_prediction() -> None:
    async with logged() as it:
        await it.apply()
        await it.pod.stop_agent()
        assert {s for s, _, _ in await it.pod.call_many(INFER, 20, data=question(1.0))} == {200}

        async def has_dropped() -> bool:
            counters = await it.pod.admin.read_counters()
            return counters.clusters["capture"].errors > 0

        await it.pod.until(has_dropped, "Envoy has found nobody to take a message")
        await it.pod.start_agent()
        await it.apply()
        _, headers, _ = await it.pod.call(INFER, data=question(1.0))

        async def is_logged() -> bool:
            got, ids = await it.counts(), it.observer.ids
            return headers["x-prediction-id"] in ids and got["taken"] == got["sent"] == len(ids)

        await it.pod.until(is_logged, "the next one is logged")
        # What is missing at the agent is what was lost on the way.
        assert (await it.counts())["offered"] == 21
        assert len(it.observer.ids) < 21


async def test_agent_that_is_told_to_stop_sends_what_waits_first() -> None:
    async with logged(log_interval_s=600.0) as it:
        await it.apply()
        _, headers, _ = await it.pod.call(INFER, data=question(1.0))
        await it.until(taken=1, sent=0)
        await it.pod.stop_agent()
        assert it.observer.ids == [headers["x-prediction-id"]]
        assert (it.pod.collector.counts.sent, it.pod.collector.counts.dropped["Shutdown"]) == (1, 0)
