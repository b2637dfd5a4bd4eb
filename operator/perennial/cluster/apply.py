"""Carry out a plan, with no write begun once another replica may lead."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from perennial.cluster.client import Client
from perennial.cluster.scale import write_scale
from perennial.errors import AlreadyExistsError, ConflictError, LeaseLostError, NotFoundError
from perennial.manifests.plan import Key, Verb, Write, owner_uids

__all__ = ["Applier"]

_log = logging.getLogger(__name__)

# Made by POST since nobody patches them.
_POSTED = frozenset({"ModelRevision", "RetrainingRun", "Job"})


class Applier:
    """Writes to the API server on behalf of the leader.

    Parameters
    ----------
    client
        The API server.
    is_leader
        Asked before each write. A write that a paused process sends late all the same carries a resourceVersion
        that no longer is the stored one.
    """

    def __init__(self, client: Client, is_leader: Callable[[], bool]) -> None:
        self._client = client
        self._is_leader = is_leader

    async def apply_plan(self, namespace: str, writes: Iterable[Write]) -> tuple[Key, ...]:
        """Carry out the writes in order; return the children whose names were found to be taken.

        Raises
        ------
        ConflictError
            If an object changed since it was read: the pass is to be done again.
        """
        taken = []
        for write in writes:
            self._check_leader()
            if not await self._apply_write(namespace, write):
                taken.append(write.key)
        return tuple(taken)

    async def apply_status(self, body: dict[str, Any]) -> dict[str, Any]:
        """Replace an object's status; ConflictError if the object changed since it was read."""
        self._check_leader()
        return await self._client.replace(body, "status")

    def _check_leader(self) -> None:
        if not self._is_leader():
            raise LeaseLostError("the lease is no longer held")

    async def _apply_write(self, namespace: str, write: Write) -> bool:
        key = write.key
        match write.verb:
            case Verb.CREATE:
                if not await self._create(namespace, write):
                    return False
            case Verb.APPLY:
                await self._client.apply(write.body, write.uid, write.resource_version)
            case Verb.SCALE:
                await write_scale(self._client, namespace, write)
            case Verb.DELETE:
                await self._client.delete(
                    key.kind, namespace, key.name, uid=write.uid, resource_version=write.resource_version
                )
        _log.info("written verb=%s kind=%s namespace=%s name=%s", write.verb, key.kind, namespace, key.name)
        return True

    async def _create(self, namespace: str, write: Write) -> bool:
        """Create; False if the name belongs to somebody else. Our own child, made since we read, is a conflict."""
        key = write.key
        try:
            if key.kind in _POSTED:
                await self._client.create(write.body)
            else:
                await self._client.create_applied(write.body)
        except AlreadyExistsError as error:
            try:
                stored = await self._client.get(key.kind, namespace, key.name)
            except NotFoundError:
                raise ConflictError(f"{key.kind} {key.name} came and went") from error
            if write.owner_uid in owner_uids(stored):
                raise ConflictError(f"{key.kind} {key.name} was made meanwhile") from error
            return False
        return True
