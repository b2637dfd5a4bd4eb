"""Retention: what leaves the log when, by each ModelDeployment's `spec.monitoring.retention` and the settings."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import anyio.to_thread
from perennial_api.modeldeployment.monitoring import Retention
from perennial_api.quantities import parse_quantity
from sqlalchemy import Connection

from perennial_observer.monitors.windows.records import forget_deployment, read_judged
from perennial_observer.registry import Registry
from perennial_observer.settings import Settings
from perennial_observer.store import retention
from perennial_observer.store.retention import LogSize
from perennial_observer.store.store import Store

__all__ = ["Due", "Expiry", "assess_due"]

_LOG = logging.getLogger(__name__)

# A deployment that is over its size is brought so far below it, or each batch of rows would cost another pass.
SLACK = 0.02
# A server's reference comes before its rows and may come before the watch has told of its deployment.
REFERENCE_GRACE_S = 3600.0
# A clock that jumps ahead would make everything old at once; for so long nothing is believed to be.
MAX_JUMP_S = 3600.0
HOLD_S = 3600.0

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Due:
    """What of a deployment's log has to go.

    Parameters
    ----------
    before
        All that arrived before goes, seconds since the epoch.
    excess_bytes
        So much has to go in all, the oldest first.
    """

    before: float
    excess_bytes: int


def assess_due(size: LogSize, asked: Retention | None, settings: Settings, *, now: float) -> Due | None:
    """Say what has to go; None: nothing.

    Parameters
    ----------
    asked
        What the ModelDeployment asks for, within what the settings allow; None where it is gone: then the settings
        alone decide, so that its rows go when they are old.
    """
    max_age_s, max_bytes = settings.retention_s, settings.max_log_bytes
    if asked is not None:
        max_age_s = min(max_age_s, asked.max_age.seconds)
        if asked.max_size is not None:
            max_bytes = min(max_bytes, int(parse_quantity(asked.max_size)))
    before = now - max_age_s
    is_over = size.size_bytes > max_bytes
    if size.oldest is None or not (is_over or size.oldest < before):
        return None
    return Due(before, size.size_bytes - int(max_bytes * (1 - SLACK)) if is_over else 0)


@dataclass
class Expiry:
    """Deletes what is due, as jobs of the writer among others.

    Parameters
    ----------
    clock
        Seconds since the epoch.
    monotonic
        Seconds that no correction of the clock touches.
    """

    store: Store
    registry: Registry
    settings: Settings
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    _held_until: float = 0.0
    _offset: float | None = None

    async def run(self) -> None:
        """Delete all that is due now."""
        await self._forget_deleted()
        now = self.clock()
        if self._is_held(now):
            return
        settings = self.settings
        await self._repeat(lambda c: retention.settle_labels(c, before=now - settings.pending_label_s))
        for size in await anyio.to_thread.run_sync(self._read_sizes):
            deployment = self.registry.get(size.uid)
            asked = None if deployment is None else deployment.spec.monitoring.retention
            due = assess_due(size, asked, settings, now=now)
            if due is not None:
                await self._delete(size, due)
        before = now - max(settings.window_retention_s, settings.retention_s)
        await self._repeat(lambda c: retention.delete_old_windows(c, before=before))
        if self.registry.is_current:
            await self._drop_references(now)

    def _is_held(self, now: float) -> bool:
        """Whether the clock has jumped ahead lately."""
        steady = self.monotonic()
        ahead = 0.0 if self._offset is None else now - steady - self._offset
        self._offset = now - steady
        if ahead > MAX_JUMP_S:
            self._held_until = steady + HOLD_S
            _LOG.warning("the clock jumped ahead by %.0f s: nothing expires for %.0f s", ahead, HOLD_S)
        return steady < self._held_until

    def _read_sizes(self) -> list[LogSize]:
        with self.store.read() as connection:
            return retention.read_log_sizes(connection)

    async def _delete(self, size: LogSize, due: Due) -> None:
        rows, excess = 0, due.excess_bytes
        while True:
            delete = partial(
                retention.delete_oldest,
                deployment_id=size.deployment_id,
                before=due.before,
                excess_bytes=excess,
            )
            step = await self._write(delete)
            if not step.rows:
                break
            rows, excess = rows + step.rows, max(0, excess - step.size_bytes)
        _LOG.info("log expired uid=%s rows=%d for_size=%s", size.uid, rows, due.excess_bytes > 0)

    async def _forget_deleted(self) -> None:
        """End the alarms of deployments that were deleted, and drop what is remembered of them."""
        if not self.registry.is_current:
            return
        for key, uid in (await anyio.to_thread.run_sync(self._read_judged)).items():
            if self.registry.is_gone(uid):
                await self._write(partial(forget_deployment, deployment_id=key))
                _LOG.info("deployment forgotten uid=%s", uid)

    def _read_judged(self) -> dict[int, str]:
        with self.store.read() as connection:
            return read_judged(connection)

    async def _drop_references(self, now: float) -> None:
        living = {deployment.metadata.uid for deployment in self.registry.all()}
        before = now - REFERENCE_GRACE_S
        await self._repeat(
            lambda c: retention.delete_idle_references(
                c, living=living, keep=self.settings.references_kept, before=before
            )
        )

    async def _repeat(self, step: Callable[[Connection], int]) -> None:
        """Take a step until it finds nothing more; log entries get their turn in between."""
        while await self._write(step):
            pass

    async def _write(self, work: Callable[[Connection], _Result]) -> _Result:
        return await asyncio.wrap_future(self.store.writer.submit(work, 0))
