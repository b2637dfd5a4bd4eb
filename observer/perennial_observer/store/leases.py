"""Who does what, where several observers share a database.

There is one lease for each deployment and for each task that one observer does for all. A replica takes as many as its
fair share of what there is, renews them while it lives, and gives back what is too much when another comes. Whatever it
writes for a lease is written only if the lease is still its own, in the same transaction: one that slept through its
lease's end, or was cut off, changes nothing when it comes back. On an embedded database there is nobody to share with.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from sqlalchemy import Connection, delete, select, text
from sqlalchemy.dialects import postgresql

from perennial_observer.errors import LeaseLost, Unavailable
from perennial_observer.store import tables as t
from perennial_observer.store.store import Store
from perennial_observer.store.writer import Jobs

__all__ = ["Leases", "SharedLeases", "SoleOwner", "choose_leases", "fence_store", "open_leases"]

_LOG = logging.getLogger(__name__)

WRITE_TIMEOUT_S = 60.0
# Replicas stand in the table under this name, so that everybody knows among how many the work is shared.
REPLICA = "replica/"

_Result = TypeVar("_Result")


class Leases(Protocol):
    """What this observer may work at."""

    def refresh(self, names: Collection[str]) -> None:
        """Renew what is held of `names`, take or give back what the fair share asks for."""
        ...

    def holds(self, name: str) -> bool:
        """Whether a lease is held now, as far as can be told without asking."""
        ...

    def fence(self, name: str, work: Callable[[Connection], _Result]) -> Callable[[Connection], _Result]:
        """Wrap a write job so that it raises LeaseLost, with nothing written, unless the lease is held."""
        ...

    def release(self) -> None:
        """Give back everything."""
        ...


class SoleOwner:
    """Holds every lease: nobody else is at an embedded database."""

    def refresh(self, names: Collection[str]) -> None:
        """Do nothing."""

    def holds(self, name: str) -> bool:  # noqa: ARG002  the protocol's
        """Say yes."""
        return True

    def fence(self, name: str, work: Callable[[Connection], _Result]) -> Callable[[Connection], _Result]:  # noqa: ARG002  the protocol's
        """Return the job as it is."""
        return work

    def release(self) -> None:
        """Do nothing."""


def choose_leases(
    wanted: Collection[str], mine: Collection[str], free: Collection[str], replicas: int
) -> tuple[set[str], set[str]]:
    """Tell which leases to hold and which to give back.

    Parameters
    ----------
    wanted
        All that there is to do.
    mine, free
        What of it this replica holds, and what nobody holds.
    replicas
        How many share, this one included.
    """
    share = -(-len(wanted) // max(1, replicas))
    held = sorted(set(mine) & set(wanted))
    kept, surplus = held[:share], held[share:]
    taken = sorted(set(free) & set(wanted) - set(held))[: share - len(kept)]
    return {*kept, *taken}, {*surplus, *(set(mine) - set(wanted))}


class SharedLeases:
    """Leases in the database, by the database's clock.

    Parameters
    ----------
    duration_s
        How long a lease lasts without being renewed.
    clock
        Monotonic seconds of this process.
    """

    def __init__(self, store: Store, duration_s: float, clock: Callable[[], float]) -> None:
        self.holder = uuid.uuid4().hex
        self._store = store
        self._duration_s = duration_s
        self._clock = clock
        self._held_until: dict[str, float] = {}
        self._lock = threading.Lock()

    def refresh(self, names: Collection[str]) -> None:
        """Renew what is held of `names`, take or give back what the fair share asks for."""
        with self._lock:
            asked_at = self._clock()
            held = self._write(lambda connection: self._turn(connection, names))
            for name in sorted(held.symmetric_difference(self._held_until)):
                _LOG.info("lease %s name=%s", "taken" if name in held else "given back", name)
            # Counted from before the question: here a lease ends no later than in the database.
            self._held_until = dict.fromkeys(held, asked_at + self._duration_s)

    def holds(self, name: str) -> bool:
        """Whether a lease is held now, as far as can be told without asking."""
        return self._held_until.get(name, float("-inf")) > self._clock()

    def fence(self, name: str, work: Callable[[Connection], _Result]) -> Callable[[Connection], _Result]:
        """Wrap a write job so that it raises LeaseLost, with nothing written, unless the lease is held."""

        def guarded(connection: Connection) -> _Result:
            # Whoever takes the lease writes too, and so not before this transaction has ended. One that ran out but
            # that nobody took is still nobody else's.
            k = t.lease.c
            if connection.execute(select(k.holder).where(k.name == name)).scalar() != self.holder:
                raise LeaseLost(f"another observer works at {name} by now: nothing is to be done")
            return work(connection)

        return guarded

    def release(self) -> None:
        """Give back everything, so that nobody waits for the end of what a stopped replica held."""
        with self._lock:
            self._held_until = {}
            self._write(
                lambda connection: connection.execute(delete(t.lease).where(t.lease.c.holder == self.holder))
            )

    def _write(self, work: Callable[[Connection], _Result]) -> _Result:
        future = self._store.writer.submit(work, 0)
        try:
            return future.result(WRITE_TIMEOUT_S)
        except TimeoutError as error:
            future.cancel()
            raise Unavailable("the database takes no writes", "DatabaseStuck") from error

    def _turn(self, connection: Connection, names: Collection[str]) -> set[str]:
        k = t.lease.c
        now: float = connection.execute(
            text("SELECT extract(epoch FROM clock_timestamp())::float8")
        ).scalar_one()
        connection.execute(delete(t.lease).where(k.until <= now, k.holder != self.holder))
        rows = connection.execute(select(k.name, k.holder)).all()
        others = {row.name for row in rows if row.holder != self.holder}
        mine = {row.name for row in rows if row.holder == self.holder and not row.name.startswith(REPLICA)}
        replicas = 1 + sum(name.startswith(REPLICA) for name in others)
        held, surplus = choose_leases(names, mine, set(names) - others - mine, replicas)
        if surplus:
            connection.execute(delete(t.lease).where(k.holder == self.holder, k.name.in_(surplus)))
        until = now + self._duration_s
        values = [
            {"name": name, "holder": self.holder, "until": until} for name in (*held, REPLICA + self.holder)
        ]
        statement = postgresql.insert(t.lease)
        statement = statement.on_conflict_do_update(
            index_elements=["name"], set_={"until": until}, where=k.holder == self.holder
        )
        connection.execute(statement, values)
        return held


@dataclass(frozen=True)
class _FencedJobs:
    jobs: Jobs
    leases: Leases
    name: str

    @property
    def waiting_bytes(self) -> int:
        return self.jobs.waiting_bytes

    def submit(self, work: Callable[[Connection], _Result], size_bytes: int) -> "Future[_Result]":
        return self.jobs.submit(self.leases.fence(self.name, work), size_bytes)

    def close(self) -> None:
        self.jobs.close()


def fence_store(store: Store, leases: Leases, name: str) -> Store:
    """Return the store with a writer that refuses every job with LeaseLost unless the lease is held."""
    return replace(store, writer=_FencedJobs(store.writer, leases, name))


def open_leases(store: Store, duration_s: float, clock: Callable[[], float]) -> Leases:
    """Return what tells this observer its share of the work."""
    return SharedLeases(store, duration_s, clock) if store.is_shared else SoleOwner()
