"""The pieces of a pod's spelling that users may set: only what the operator honours."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from perennial_api.base import Model, Rule
from perennial_api.quantities import parse_quantity
from perennial_api.types import Int, Quantity

__all__ = [
    "LocalObjectReference",
    "NodeSelector",
    "ResourceList",
    "Resources",
    "TaintEffect",
    "Toleration",
    "TolerationOperator",
]

ResourceList = Annotated[dict[str, Quantity], Field(max_length=16)]
LabelValue = Annotated[str, StringConstraints(max_length=63)]
NodeSelector = Annotated[
    dict[Annotated[str, StringConstraints(max_length=316)], LabelValue], Field(max_length=16)
]


_RESOURCE_NAME = r"^(cpu|memory|ephemeral-storage|[a-z0-9.-]+/[A-Za-z0-9._-]+)$"


def _resource_names_known(resources: "Resources") -> bool:
    names = (*(resources.requests or {}), *(resources.limits or {}))
    return all(re.fullmatch(_RESOURCE_NAME, name) for name in names)


def _requests_within_limits(resources: "Resources") -> bool:
    requests, limits = resources.requests or {}, resources.limits or {}
    return all(
        parse_quantity(requests[name]) <= parse_quantity(limits[name]) for name in requests.keys() & limits
    )


class Resources(Model):
    """Compute resources of one pod's container, as in a Kubernetes container."""

    rules = (
        Rule(
            cel=(
                f"(!has(self.requests) || self.requests.all(name, name.matches('{_RESOURCE_NAME}')))"
                f" && (!has(self.limits) || self.limits.all(name, name.matches('{_RESOURCE_NAME}')))"
            ),
            message="a resource is cpu, memory, ephemeral-storage or of the form vendor.example/name: correct the name",
            holds=_resource_names_known,
        ),
        Rule(
            cel=(
                "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits)"
                " || !quantity(string(self.requests[name])).isGreaterThan(quantity(string(self.limits[name]))))"
            ),
            message="a request is larger than its limit: lower the request or raise the limit",
            holds=_requests_within_limits,
        ),
    )

    requests: ResourceList | None = None
    """What the scheduler sets aside, as Kubernetes quantities: cpu in cores (250m is a quarter), memory in bytes
    (512Mi)."""
    limits: ResourceList | None = None
    """What the container may not exceed, as Kubernetes quantities; above the memory limit it is killed."""


class TolerationOperator(StrEnum):
    """How a toleration compares."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    """Which effect of a taint is tolerated."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Model):
    """A taint that the pods accept, as in a Kubernetes pod."""

    rules = (
        Rule(
            cel="self.operator == 'Equal' || !has(self.value)",
            message="operator Exists takes no value: remove value or set operator to Equal",
            holds=lambda self: self.operator is TolerationOperator.EQUAL or self.value is None,
        ),
        Rule(
            cel="has(self.key) || self.operator == 'Exists'",
            message="a toleration without key tolerates every taint: set operator to Exists, or give a key",
            holds=lambda self: self.key is not None or self.operator is TolerationOperator.EXISTS,
        ),
        Rule(
            cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            message="tolerationSeconds needs effect NoExecute",
            holds=lambda self: self.toleration_seconds is None or self.effect is TaintEffect.NO_EXECUTE,
        ),
    )

    key: Annotated[str, StringConstraints(min_length=1, max_length=316)] | None = None
    """Key of the taint; left out it means every key, with operator Exists."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """Equal compares value, Exists accepts any value."""
    value: LabelValue | None = None
    """Value of the taint, for operator Equal."""
    effect: TaintEffect | None = None
    """Effect of the taint; left out it means every effect."""
    toleration_seconds: Annotated[Int, Field(ge=0)] | None = None
    """How long a pod stays after a NoExecute taint appears, in seconds; left out it stays."""


class LocalObjectReference(Model):
    """A name in the same namespace."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Name of the object."""
