"""What is kept in memory because it is costly to make again: bounded in bytes, the one used longest ago goes first.

What goes is made again when it is asked for, so nothing but time may depend on whether something is still here.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any, Generic, TypeVar

import numpy as np

__all__ = ["Kept", "reckon_bytes"]

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")

# So far beyond the bound may one value be that alone is larger than it.
LARGEST_PARTS = 4
MAX_SURPLUS_BYTES = 64 << 20
# What no single object has for itself.
_SHARED = (type, FunctionType, MethodType, ModuleType)
_PLAIN = (str, bytes, int, float, bool, type(None))


class Kept(Generic[_Key, _Value]):
    """Values by key, of at most so many bytes together, and beside them at most one that alone is larger.

    Without that place a value somewhat too large would be made anew at every use. It costs the others nothing: it has a
    place of its own, which goes to the one used last.

    Parameters
    ----------
    max_bytes
        Of all that are no larger than this, together.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._values: OrderedDict[_Key, tuple[_Value, int]] = OrderedDict()
        self._size_bytes = 0
        self._large: dict[_Key, tuple[_Value, int]] = {}

    @property
    def largest_bytes(self) -> int:
        """Of the one that may be larger than `max_bytes`; what is larger still is not kept at all."""
        return min(LARGEST_PARTS * self.max_bytes, self.max_bytes + MAX_SURPLUS_BYTES)

    @property
    def size_bytes(self) -> int:
        """What is held, as it was reckoned when it was put here."""
        return self._size_bytes + sum(size for _, size in self._large.values())

    def __len__(self) -> int:
        return len(self._values) + len(self._large)

    def __iter__(self) -> Iterator[_Key]:
        return iter([*self._values, *self._large])

    def get(self, key: _Key) -> _Value | None:
        """Find a value, which counts as a use of it."""
        held = self._large.get(key) or self._values.get(key)
        if held is None:
            return None
        if key in self._values:
            self._values.move_to_end(key)
        return held[0]

    def put(self, key: _Key, value: _Value, size_bytes: int) -> None:
        """Hold a value, or take note that it has another size by now; others of its kind go until there is room."""
        self._drop(key)
        if size_bytes > self.max_bytes:
            if size_bytes <= self.largest_bytes:
                self._large = {key: (value, size_bytes)}
            return
        self._values[key] = (value, size_bytes)
        self._size_bytes += size_bytes
        while self._size_bytes > self.max_bytes:
            self._drop(next(iter(self._values)))

    def keep_only(self, is_wanted: Callable[[_Key], bool]) -> None:
        """Drop the values whose keys are not wanted any more."""
        for key in [key for key in self if not is_wanted(key)]:
            self._drop(key)

    def _drop(self, key: _Key) -> None:
        self._large.pop(key, None)
        held = self._values.pop(key, None)
        if held is not None:
            self._size_bytes -= held[1]


def reckon_bytes(value: object, shared: Collection[object] = ()) -> int:
    """Reckon what an object and all that it holds takes in memory, each thing once.

    Arrays count with the memory that they are a view of, scikit-learn's trees with their nodes. Functions and classes
    count nothing.

    Parameters
    ----------
    shared
        Objects within it that belong to others.
    """
    # Held and not only known by their ids: what is made for the asking would free its id for the next thing.
    seen: dict[int, object] = {id(thing): thing for thing in shared}
    found, left = 0, [value]
    while left:
        thing = left.pop()
        if id(thing) in seen or isinstance(thing, _SHARED):
            continue
        seen[id(thing)] = thing
        found += sys.getsizeof(thing)
        if isinstance(thing, np.ndarray):
            if isinstance(thing.base, np.ndarray):
                left.append(thing.base)
            elif thing.base is not None:
                found += thing.nbytes
            if thing.dtype.hasobject:
                left += thing.ravel().tolist()
        elif not isinstance(thing, _PLAIN):
            left += _parts(thing)
    return found


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, Mapping):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, list | tuple | set | frozenset):
        return list(thing)
    held = list(getattr(thing, "__dict__", {}).values())
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names = (slots,) if isinstance(slots, str) else slots
        held += [getattr(thing, name) for name in names if hasattr(thing, name)]
    if not held and type(thing).__module__.startswith("sklearn."):
        # Compiled classes hold their arrays where only their pickles find them.
        return [thing.__getstate__()]
    return held
