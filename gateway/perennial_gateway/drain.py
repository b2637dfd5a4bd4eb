"""Let a gateway pod go without failing a request; runs as the Envoy container's preStop hook."""

from __future__ import annotations

import asyncio
import time

from perennial_gateway.admin import EnvoyAdmin
from perennial_gateway.settings import DrainSettings

POLL_S = 0.5


async def drain(settings: DrainSettings) -> None:
    """Tell clients to go elsewhere, then wait until none is being served, for a bounded time.

    Raises
    ------
    EnvoyUnavailable
        Envoy is gone already.
    """
    started = time.monotonic()
    async with EnvoyAdmin(settings.admin_socket) as admin:
        await admin.start_draining()
        while (elapsed := time.monotonic() - started) < settings.drain_max_s:
            counters = await admin.read_counters()
            if elapsed >= settings.drain_min_s and not counters.active_requests:
                return
            await asyncio.sleep(POLL_S)
