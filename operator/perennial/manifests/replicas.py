"""Who owns `spec.replicas` of a stored Deployment, and the writes that set it where the manifest doesn't.

A field that server-side apply has set and sets no longer is removed, and an absent number of pods is one. So before the
manifest leaves the number out, another manager must own it: the write through /scale makes that so.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from perennial.manifests.plan import Key, Plan, Verb, Write

__all__ = ["only_manifest_owns_replicas", "with_scale_writes"]

_KIND = "Deployment"


def only_manifest_owns_replicas(stored: Mapping[str, Any], manager: str) -> bool:
    """Whether nobody but the manifest that `manager` applies has set the number of pods: then it goes with it."""
    owners = [
        (entry.get("manager"), entry.get("operation"), entry.get("subresource") or "")
        for entry in stored["metadata"].get("managedFields") or []
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return owners == [(manager, "Apply", "")]


def with_scale_writes(
    plan: Plan, replicas: Mapping[str, int | None], stored: Mapping[Key, Mapping[str, Any]], manager: str
) -> Plan:
    """Add the writes through /scale.

    Parameters
    ----------
    plan
        Its Deployments leave `spec.replicas` out.
    replicas
        For each Deployment whose number the manifest doesn't set: the number, or None where a
        HorizontalPodAutoscaler sets it.
    stored
        Children as read.
    manager
        Field manager of the manifests.

    A Deployment gets one write in a pass, since the second would carry an old resourceVersion: the manifest comes in
    the next pass, which the first write brings about.
    """
    leaving = {write.key for write in plan.writes if write.verb is Verb.DELETE}
    scaled = {}
    for name, wanted in replicas.items():
        key = Key(_KIND, name)
        found = stored.get(key)
        if found is None or key in leaving or "deletionTimestamp" in found["metadata"]:
            continue
        present = found["spec"].get("replicas", 1)
        number = present if wanted is None else wanted
        if number != present or only_manifest_owns_replicas(found, manager):
            metadata = found["metadata"]
            body = {"replicas": number}
            scaled[key] = Write(Verb.SCALE, key, body, metadata["uid"], metadata["resourceVersion"])
    others = [write for write in plan.writes if write.key not in scaled]
    # Pods first: a share is raised, and traffic returns, after its capacity.
    return replace(plan, writes=(*scaled.values(), *others))
