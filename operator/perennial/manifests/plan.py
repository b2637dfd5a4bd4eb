"""From what is asked for and what is there to an ordered list of writes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from perennial.manifests.context import Manifest
from perennial.manifests.differences import differs, with_hash

__all__ = ["Key", "Plan", "Verb", "Write", "build_plan", "key_of", "owner_uids"]


class Verb(StrEnum):
    """What is done to an object."""

    CREATE = "create"
    APPLY = "apply"
    SCALE = "scale"  # of a Deployment: the number of pods alone
    DELETE = "delete"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Kind and name of a child; the namespace is the ModelDeployment's."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Write:
    """One write.

    Attributes
    ----------
    body
        What to create or apply; the number of `replicas` for a scale; empty for a delete.
    uid, resource_version
        Of the object as it was read: a write that comes late, or to a namesake, is refused. Empty for a create.
    owner_uid
        Whose child it is, to be checked when a create finds the name in use.
    """

    verb: Verb
    key: Key
    body: Mapping[str, Any]
    uid: str = ""
    resource_version: str = ""
    owner_uid: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The writes in order, and the children whose names belong to somebody else."""

    writes: tuple[Write, ...] = ()
    taken: tuple[Key, ...] = ()


# Accounts and Services before the pods that use them, pods before the route that sends them requests; the other way
# round on the way out. What no longer gets requests loses its pods last.
_CREATION_ORDER = (
    "ServiceAccount",
    "ModelRevision",
    "Service",
    "Deployment",
    "HorizontalPodAutoscaler",
    "ModelRoute",
    "RetrainingRun",
    "Job",
)
# Created once and never touched again.
_FROZEN = frozenset({"ModelRevision", "RetrainingRun", "Job"})


def key_of(manifest: Mapping[str, Any]) -> Key:
    """Return kind and name of an object."""
    return Key(manifest["kind"], manifest["metadata"]["name"])


def owner_uids(stored: Mapping[str, Any]) -> frozenset[str]:
    """Return the uids of an object's owners."""
    references = stored["metadata"].get("ownerReferences") or []
    return frozenset(reference["uid"] for reference in references)


def build_plan(
    desired: Iterable[Manifest], observed: Mapping[Key, Mapping[str, Any]], ours: frozenset[str]
) -> Plan:
    """Compare and order.

    Parameters
    ----------
    desired
        Every child that must exist. What is observed, ours and not desired is deleted.
    observed
        The children as read, by kind and name.
    ours
        Uids of the ModelDeployment and of those of its children that own others. Nothing else's child is touched,
        whatever its name and labels.
    """
    wanted = {key_of(manifest): manifest for manifest in desired}
    writes: list[Write] = []
    taken: list[Key] = []
    for key in sorted(wanted, key=_creation_key):
        stored = observed.get(key)
        if stored is None:
            writes.append(_create(key, wanted[key]))
        elif not owner_uids(stored) & ours:
            taken.append(key)
        elif key.kind not in _FROZEN:
            body = with_hash(wanted[key])
            if not _is_terminating(stored) and differs(body, stored):
                writes.append(Write(Verb.APPLY, key, body, *_identity(stored)))
    surplus = [k for k, stored in observed.items() if k not in wanted and owner_uids(stored) & ours]
    writes.extend(
        Write(Verb.DELETE, key, {}, *_identity(observed[key]))
        for key in sorted(surplus, key=_creation_key, reverse=True)
        if not _is_terminating(observed[key])
    )
    return Plan(tuple(writes), tuple(taken))


def _create(key: Key, manifest: Manifest) -> Write:
    owner = manifest["metadata"]["ownerReferences"][0]["uid"]
    body = manifest if key.kind in _FROZEN else with_hash(manifest)
    return Write(Verb.CREATE, key, body, owner_uid=owner)


def _creation_key(key: Key) -> tuple[int, Key]:
    return _CREATION_ORDER.index(key.kind), key


def _identity(stored: Mapping[str, Any]) -> tuple[str, str]:
    metadata = stored["metadata"]
    return metadata["uid"], metadata["resourceVersion"]


def _is_terminating(stored: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in stored["metadata"]
