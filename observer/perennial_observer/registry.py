"""The ModelDeployments that exist now, as the watch tells; read by ingest, monitors and metrics."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from perennial_api import ModelDeployment

from perennial_observer.store.rows import DeploymentKey

__all__ = ["Registry", "key_of"]

# The API server says something at least each minute or so, if only how far the watch is.
CURRENT_S = 180.0


def key_of(deployment: ModelDeployment) -> DeploymentKey:
    """Whose rows are this deployment's."""
    meta = deployment.metadata
    return DeploymentKey(uid=meta.uid, namespace=meta.namespace, name=meta.name)


@dataclass
class Registry:
    """Last known state by uid. Replaced as a whole on a list, piece by piece on watch events.

    Parameters
    ----------
    synced
        Whether there has been a list at all.
    monotonic
        Seconds that no correction of the clock touches.
    """

    synced: bool = False
    monotonic: Callable[[], float] = time.monotonic
    _by_uid: dict[str, ModelDeployment] = field(default_factory=dict)
    _unread: frozenset[str] = frozenset()
    _heard: float = float("-inf")

    def replace(self, deployments: Sequence[ModelDeployment], unread: Collection[str] = ()) -> None:
        """Take over a full list.

        Parameters
        ----------
        unread
            Uids of those that exist and can't be read.
        """
        self._by_uid = {d.metadata.uid: d for d in deployments}
        self._unread = frozenset(unread)
        self.synced = True
        self.hear()

    def hear(self) -> None:
        """Take note that the API server has answered: up to now, nothing has been missed."""
        self._heard = self.monotonic()

    @property
    def is_current(self) -> bool:
        """Whether what is missing here doesn't exist.

        Cut off from the API server, an observer doesn't know what has been created since.
        """
        return self.synced and self.monotonic() - self._heard < CURRENT_S

    def put(self, deployment: ModelDeployment) -> None:
        """Take over one that is new or changed."""
        self._by_uid = {**self._by_uid, deployment.metadata.uid: deployment}

    def remove(self, uid: str) -> None:
        """Forget one that was deleted."""
        self._by_uid = {known: d for known, d in self._by_uid.items() if known != uid}
        self._unread -= {uid}

    def put_unread(self, uid: str) -> None:
        """Take note of one that exists and can't be read."""
        self._unread |= {uid}

    def is_gone(self, uid: str) -> bool:
        """Whether a deployment surely doesn't exist any more."""
        return self.is_current and uid not in self._by_uid and uid not in self._unread

    def get(self, uid: str) -> ModelDeployment | None:
        """Find one by uid."""
        return self._by_uid.get(uid)

    def find_uid(self, namespace: str, name: str) -> str | None:
        """Return the uid that has this name now."""
        found = (
            d for d in self._by_uid.values() if (d.metadata.namespace, d.metadata.name) == (namespace, name)
        )
        return next((d.metadata.uid for d in found), None)

    def all(self) -> list[ModelDeployment]:
        """All of them, in no order."""
        return list(self._by_uid.values())
