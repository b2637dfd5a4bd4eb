"""Lets calls that have arrived together be accepted together, so that the engine can join them.

gRPC accepts one call after the other, each in turns of the event loop that the model's calls take away, so that those who
wait inside of gRPC would be predicted one by one. So calls wait until no other has been accepted for a moment, if there
was company lately; of those who come alone, one in many looks whether it still is alone.
"""

import asyncio
from collections.abc import Awaitable, Callable

QUIET_S = 0.001
MOST_ROUNDS = 8
MOST_ALONE = 8
LOOK_EVERY = 16


class Gathering:
    """Where calls wait for each other.

    Parameters
    ----------
    sleep
        Waits for so many seconds.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._arrived = 0
        self._alone = MOST_ALONE
        self._gathered: asyncio.Future[None] | None = None

    async def join(self) -> None:
        """Wait for the others; return at once if there were none lately."""
        self._arrived += 1
        if self._gathered is not None:
            # Shielded: one that leaves must not take the others along.
            await asyncio.shield(self._gathered)
        elif self._alone < MOST_ALONE or self._arrived % LOOK_EVERY == 0:
            gathered = self._gathered = asyncio.get_running_loop().create_future()
            try:
                await self._gather()
            finally:
                self._gathered = None
                gathered.set_result(None)

    async def _gather(self) -> None:
        first = self._arrived
        for _ in range(MOST_ROUNDS):
            seen = self._arrived
            await self._sleep(QUIET_S)
            if self._arrived == seen:
                break
        self._alone = 0 if self._arrived != first else self._alone + 1
