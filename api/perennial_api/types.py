"""Small types that several resources share, each with the bounds that the API server needs to reckon CEL's cost."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    StringConstraints,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from perennial_api.durations import Duration, parse_duration_s
from perennial_api.quantities import QUANTITY_PATTERN

__all__ = [
    "AtLeast",
    "Bool",
    "Column",
    "Digest",
    "Float",
    "ImageReference",
    "Int",
    "KeyedBy",
    "Message",
    "Name",
    "Percent",
    "PerennialUri",
    "PositiveDuration",
    "Quantity",
    "Reason",
    "Sha256",
    "Time",
    "Unique",
]

LONGEST_MESSAGE = 4096
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"


def clip_message(text: Any) -> Any:
    """Cut a message that is too long for a status, since the API server would refuse the whole status for it."""
    if not isinstance(text, str) or len(text) <= LONGEST_MESSAGE:
        return text
    return text[: LONGEST_MESSAGE - 1] + "…"


# Strict, as the API server is: no "5" or true for a number.
Int = Annotated[int, Strict()]
Float = Annotated[float, Strict()]
Bool = Annotated[bool, Strict()]
Name = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=rf"^{_LABEL}$")]
Sha256 = Annotated[str, StringConstraints(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, StringConstraints(min_length=71, max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")]
PerennialUri = Annotated[str, StringConstraints(max_length=83, pattern=r"^perennial://sha256:[0-9a-f]{64}$")]
ImageReference = Annotated[
    str, StringConstraints(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$")
]
Column = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Reason = Annotated[str, StringConstraints(max_length=128, pattern=r"^([A-Z][A-Za-z0-9]*)?$")]
Message = Annotated[str, BeforeValidator(clip_message), StringConstraints(max_length=LONGEST_MESSAGE)]
Percent = Annotated[Int, Field(ge=0, le=100)]
Time = AwareDatetime


def _number_to_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


@dataclass(frozen=True)
class _IntOrString:
    """Let YAML's bare numbers through, as Kubernetes does for quantities."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        text = handler(schema)
        del text["type"]
        return {**text, "x-kubernetes-int-or-string": True}


Quantity = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=32,
        pattern=QUANTITY_PATTERN,
    ),
    BeforeValidator(_number_to_text),
    _IntOrString(),
]


@dataclass(frozen=True)
class AtLeast:
    """The shortest duration that makes sense, such as ``AtLeast("1s")``."""

    shortest: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Refuse what is shorter."""
        least_s = parse_duration_s(self.shortest)

        def check(value: Duration) -> Duration:
            if value.seconds < least_s:
                raise ValueError(f"must be at least {self.shortest}")
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say the same in CEL, where a field of format duration compares as a duration."""
        rule = {
            "rule": f"self >= duration('{self.shortest}')",
            "message": f"must be at least {self.shortest}",
        }
        return {**handler(schema), "x-kubernetes-validations": [rule]}


PositiveDuration = Annotated[Duration, AtLeast("1s")]


def _unique(key: Callable[[Any], Hashable], what: str) -> Callable[[Any], Any]:
    def check(items: Any) -> Any:
        keys = [key(item) for item in items]
        doubled = next((k for i, k in enumerate(keys) if k in keys[:i]), None)
        if doubled is not None:
            raise ValueError(f"{what} {doubled!r} appears twice: keep one")
        return items

    return check


@dataclass(frozen=True)
class KeyedBy:
    """A list whose items are told apart by one field: ``listType: map`` for the API server, refused twins here."""

    field: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Refuse two items with the same key."""
        check = _unique(lambda item: getattr(item, self.field), self.field)
        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Make server-side apply merge by that key."""
        extra = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.field]}
        return {**handler(schema), **extra}


@dataclass(frozen=True)
class Unique:
    """A list of scalars without twins: ``listType: set``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Refuse the same value twice."""
        return core_schema.no_info_after_validator_function(
            _unique(lambda item: item, "value"), handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Make the API server refuse it as well."""
        return {**handler(schema), "x-kubernetes-list-type": "set"}
