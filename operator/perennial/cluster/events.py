"""Post our own events: on transitions only, after the status was written, never in the way of a pass."""

import logging
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from perennial.cluster.client import Client
from perennial.errors import NamespaceEndingError, PerennialError
from perennial.rollout.decision import Notice

__all__ = ["EventPoster"]

_log = logging.getLogger(__name__)

CONTROLLER = "perennial.dev/operator"
LONGEST_NOTE = 1000


class EventPoster:
    """Writes events on a ModelDeployment.

    Parameters
    ----------
    instance
        Name of this replica.
    """

    def __init__(self, client: Client, instance: str) -> None:
        self._client = client
        self._instance = instance

    async def post(self, regarding: Mapping[str, Any], notices: Iterable[Notice]) -> None:
        """Post one event per notice; one that can't be posted is logged and forgotten."""
        for notice in notices:
            try:
                await self._client.create(self._build(regarding, notice))
            except NamespaceEndingError:
                return
            except PerennialError as error:
                _log.warning("event not posted reason=%s error=%s", notice.reason, error)

    def _build(self, regarding: Mapping[str, Any], notice: Notice) -> dict[str, Any]:
        metadata = regarding["metadata"]
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}",
                "namespace": metadata["namespace"],
            },
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance[:128],
            "action": "Reconcile",
            "reason": notice.reason.value,
            "type": "Warning" if notice.is_warning else "Normal",
            "note": notice.message[:LONGEST_NOTE],
            "regarding": {
                "apiVersion": regarding["apiVersion"],
                "kind": regarding["kind"],
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
        }
