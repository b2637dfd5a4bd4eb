"""The classes of each revision's model, as its server sent them along with the bundle's sample."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from perennial_observer.monitors.references.sources import Scope
from perennial_observer.store.references import read_reference
from perennial_observer.store.store import Store

__all__ = ["BundleClasses"]


@dataclass
class BundleClasses:
    """Reads them once; they are there at once, also where windows are compared with something else."""

    store: Store
    _found: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict)

    def of(self, scope: Scope) -> tuple[Any, ...]:
        """Return them in the order of the model's probabilities; empty where its server hasn't told them (yet)."""
        place = (scope.key.uid, scope.revision)
        if place not in self._found:
            with self.store.read() as connection:
                sent = read_reference(connection, *place)
            if sent is None:
                return ()
            self._found[place] = tuple(sent.classes)
        return self._found[place]

    def keep_only(self, in_force: AbstractSet[tuple[str, str]]) -> None:
        """Drop those of (uid, revision) pairs that are not in force any more."""
        self._found = {place: found for place, found in self._found.items() if place in in_force}
