"""What must be the same in the end whatever went wrong on the way: the objects, and what was created and deleted.

Sieve found 45 of its 46 bugs by these two comparisons with a fault-free run, and five by reading logs.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from perennial.cluster.kinds import KINDS
from perennial_localcluster.api import ApiClient

from tests.faults.support.calls import Record, WriteClass

Json = dict[str, Any]
State = dict[str, Json]

LABEL = "perennial.dev/deployment"
OBSERVED_KINDS = (
    "ModelDeployment",
    "ModelRevision",
    "ModelRoute",
    "RetrainingRun",
    "Deployment",
    "Service",
    "ServiceAccount",
    "Job",
)
KIND_OF_PLURAL = {kind.plural: kind.name for kind in KINDS.values()}


@dataclass(frozen=True)
class Counts:
    """How many objects of each kind the operator created and deleted, as the API server accepted it."""

    created: Mapping[str, int]
    deleted: Mapping[str, int]

    def __str__(self) -> str:
        created, deleted = (
            " ".join(f"{kind}={n}" for kind, n in sorted(counts.items())) or "nothing"
            for counts in (self.created, self.deleted)
        )
        return f"created {created}, deleted {deleted}"


def count(records: Iterable[Record]) -> Counts:
    """Count from what the proxy saw: a server-side apply that created is told by its 201."""
    created: Counter[str] = Counter()
    deleted: Counter[str] = Counter()
    for record in records:
        if record.call.write_class is not WriteClass.NUMBERED or not record.is_accepted_write:
            continue
        kind = KIND_OF_PLURAL.get(record.call.plural, record.call.plural)
        if record.call.method == "DELETE":
            deleted[kind] += 1
        elif record.status == 201:
            created[kind] += 1
    return Counts(dict(created), dict(deleted))


def observe_state(api: ApiClient, namespace: str, name: str) -> State:
    """Read a ModelDeployment and all its children, without what differs between two runs that went well."""
    state: State = {}
    uids: dict[str, str] = {namespace: "<namespace>"}
    for kind in OBSERVED_KINDS:
        for stored in api.request("GET", KINDS[kind].path(namespace))["items"]:
            metadata = stored["metadata"]
            ours = metadata["name"] == name if kind == "ModelDeployment" else _label(stored) == name
            if not ours:
                continue
            uids[metadata["uid"]] = f"<uid of {kind}>"
            state[f"{kind}/{metadata['name']}"] = _essentials(kind, stored)
    text = json.dumps(state, sort_keys=True)
    for value, mask in uids.items():
        text = text.replace(value, mask)
    masked: State = json.loads(text)
    return masked


def compare(want: Any, got: Any, where: str = "") -> list[str]:
    """Return one line for each difference."""
    if isinstance(want, dict) and isinstance(got, dict):
        lines = []
        for key in sorted(want.keys() | got.keys()):
            path = f"{where}.{key}" if where else key
            if key not in got:
                lines.append(f"{path}: missing")
            elif key not in want:
                lines.append(f"{path}: too much")
            else:
                lines += compare(want[key], got[key], path)
        return lines
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [
            line
            for i, (w, g) in enumerate(zip(want, got, strict=True))
            for line in compare(w, g, f"{where}[{i}]")
        ]
    return [] if want == got else [f"{where}: {want!r} became {got!r}"]


def _label(stored: Json) -> str | None:
    labels: dict[str, str] = stored["metadata"].get("labels", {})
    return labels.get(LABEL)


def _essentials(kind: str, stored: Json) -> Json:
    metadata = stored["metadata"]
    owners = [f"{o['kind']}/{o['name']}" for o in metadata.get("ownerReferences", [])]
    deleting = "deletionTimestamp" in metadata
    seen = {"labels": metadata.get("labels", {}), "owners": owners, "deleting": deleting}
    seen["finalizers"] = metadata.get("finalizers", [])
    if "spec" in stored:
        seen["spec"] = _SPECS.get(kind, dict)(stored["spec"])
    if kind in _STATUSES:
        seen["status"] = _STATUSES[kind](stored.get("status", {}))
    return seen


def _service_spec(spec: Json) -> Json:
    """The API server chooses the addresses."""
    given = ("clusterIP", "clusterIPs")
    return {k: v for k, v in spec.items() if k not in given or v in ("None", ["None"])}


def _route_spec(spec: Json) -> Json:
    """The salt follows from the ModelDeployment's uid."""
    sticky = {k: v for k, v in (spec.get("sticky") or {}).items() if k != "salt"}
    return {**spec, "sticky": sticky}


def _deployment_status(status: Json) -> Json:
    rollout: Json = status.get("rollout") or {}
    model: Json = status.get("modelStatus") or {}
    conditions = status.get("conditions", [])
    experiment: Json = status.get("experiment") or {}
    arms = [{k: v for k, v in arm.items() if k in _ARM_FIELDS} for arm in experiment.get("arms", [])]
    command: Json = status.get("lastCommand") or {}
    return {
        "observedGeneration": status.get("observedGeneration"),
        "conditions": {c["type"]: f"{c['status']} {_reason(c)}" for c in conditions},
        "model": {k: v for k, v in model.items() if k != "lastFailureInfo"},
        "rollout": {k: v for k, v in rollout.items() if k in _ROLLOUT_FIELDS},
        "evidence": _verdicts(rollout.get("evidence", [])),
        "experiment": {k: v for k, v in experiment.items() if k in _EXPERIMENT_FIELDS} | {"arms": arms},
        "command": {k: v for k, v in command.items() if k in _COMMAND_FIELDS},
    }


def _reason(condition: Json) -> str:
    """Which of the limits on errors spoke first depends on the traffic; that the gate failed doesn't."""
    reason: str = condition["reason"]
    return "<limit on errors>" if reason in _LIMITS_ON_ERRORS else reason


def _revision_status(status: Json) -> Json:
    return {
        "role": status.get("role"),
        "attempt": status.get("attempt"),
        "evidence": _verdicts(status.get("evidence", [])),
    }


def _verdicts(evidence: Iterable[Json]) -> list[str]:
    """Counts and E-values depend on the traffic; what was decided about which metric doesn't."""
    return sorted({f"{item['metric']} {item['decision']}" for item in evidence})


# Times, messages, route generations and the gate's counts are left out.
_ROLLOUT_FIELDS = frozenset(
    {"phase", "stable", "canary", "attempt", "stepIndex", "stepState", "weights", "canaryWeightPercent"}
    | {"draining", "failedRevision", "held", "pinned", "preview"}
)
_EXPERIMENT_FIELDS = frozenset({"phase", "reason", "winner", "attempt", "stable", "promote"})
_LIMITS_ON_ERRORS = frozenset({"Breaker", "RateExceeded", "RatioExceeded"})
_ARM_FIELDS = frozenset({"name", "revision", "state", "weightPercent"})
_COMMAND_FIELDS = frozenset({"verb", "accepted", "reason"})
_SPECS: dict[str, Callable[[Json], Json]] = {"Service": _service_spec, "ModelRoute": _route_spec}
_STATUSES: dict[str, Callable[[Json], Json]] = {
    "ModelDeployment": _deployment_status,
    "ModelRevision": _revision_status,
}
