"""What takes long is made beside the looks: one monitor's forests or far-away file must not hold up all the others.

A look waits a short time for what it asks for, which is enough for nearly everything; what isn't ready then is found by a
later look. It is only in memory: after a restart it is made again.
"""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

__all__ = ["Beside", "Maker", "Preparing", "make_here"]

_Made = TypeVar("_Made")

AT_ONCE = 2
# Each holds the reference that it works on.
MOST_WAITING = 16


class Preparing(Exception):
    """What a window is judged by is being made; a later look finds it."""

    reason = "Preparing"

    def __init__(self) -> None:
        super().__init__(
            "what the window is compared with is being read or learnt from; one of the next looks judges it"
        )


class Maker(Protocol):
    """Makes something, perhaps for a later look."""

    def __call__(self, key: Hashable, work: Callable[[], _Made], /) -> _Made:
        """Return what the work gives, or raise what it raises; raise Preparing until then.

        Parameters
        ----------
        key
            All that the result depends on.
        """
        ...


def make_here(_: Hashable, work: Callable[[], _Made], /) -> _Made:
    """Make it at once."""
    return work()


class Beside:
    """Makes at most two things at once; a bounded number of others waits for a turn.

    Parameters
    ----------
    wait_s
        How long one look waits in all.
    """

    def __init__(self, wait_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wait_s = wait_s
        self._monotonic = monotonic
        self._left_s = wait_s
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="prepare")
        self._making: dict[Hashable, Future[Any]] = {}
        self._asked: set[Hashable] = set()

    def make(self, key: Hashable, work: Callable[[], _Made], /) -> _Made:
        """Return what is made, as :class:`Maker` says."""
        self._asked.add(key)
        future: Future[_Made] | None = self._making.get(key)
        if future is None:
            if len(self._making) >= MOST_WAITING:
                raise Preparing
            future = self._making[key] = self._pool.submit(work)
            started = self._monotonic()
            wait([future], timeout=max(0.0, self._left_s))
            self._left_s -= self._monotonic() - started
        if not future.done():
            raise Preparing
        del self._making[key]
        return future.result()

    def end_look(self) -> None:
        """Take note that all monitors have had their turn: what none of them asked for goes."""
        self._making = {
            key: future
            for key, future in self._making.items()
            if key in self._asked or not (future.done() or future.cancel())
        }
        self._asked.clear()
        self._left_s = self._wait_s

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
