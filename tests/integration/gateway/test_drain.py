"""A gateway pod that goes lets its active requests finish."""

from __future__ import annotations

import asyncio

from perennial_gateway.drain import drain
from perennial_gateway.model import Backend
from perennial_gateway.settings import DrainSettings

from tests.integration.gateway.backends import running
from tests.integration.gateway.harness import route


async def test_drain_waits_for_active_requests_and_goes_on_accepting(pod) -> None:
    async with running("slow", delay_s=1.0) as slow:
        await pod.apply(route("wine", Backend("wine-a", 100, (slow.endpoint,))))
        active = asyncio.create_task(pod.call("/shop/wine/v2"))
        await pod.until(lambda: slow.requests == 1, "the request has arrived")
        draining = asyncio.create_task(drain(DrainSettings(gateway_directory=pod.directory, drain_min_s=0)))

        async def failing_health() -> bool:
            return (await pod.call("/healthz", method="GET"))[0] == 503

        await pod.until(failing_health, "health check fails")
        status, headers, _ = await pod.call("/shop/wine/v2")
        assert (status, headers["connection"]) == (200, "close")
        await draining
        assert active.done()
        assert active.result()[0] == 200


async def test_drain_gives_up_after_its_bound(pod) -> None:
    async with running("slow", delay_s=3.0) as slow:
        await pod.apply(route("wine", Backend("wine-a", 100, (slow.endpoint,))))
        active = asyncio.create_task(pod.call("/shop/wine/v2"))
        await pod.until(lambda: slow.requests == 1, "the request has arrived")
        await drain(DrainSettings(gateway_directory=pod.directory, drain_min_s=0, drain_max_s=0.5))
        assert not active.done()
        assert (await active)[0] == 200
