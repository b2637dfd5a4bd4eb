"""What every resource model shares: spelling, strictness, and rules that the API server checks too."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

__all__ = ["Model", "ObjectMeta", "OwnerReference", "Resource", "Rule", "StatusModel"]


@dataclass(frozen=True)
class Rule:
    """One cross-field rule, told once: to the API server in CEL, to Python as a function.

    Parameters
    ----------
    cel
        The rule as CEL; ``self`` is the object that the model describes.
    message
        What the user should change, shown by both.
    holds
        The same rule on the model's instance. None for rules on transitions (``oldSelf``), which only the API
        server can check.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool] | None


class Model(BaseModel):
    """A frozen piece of a resource: camelCase outside, snake_case inside, unknown fields refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for rule in self.rules:
            if rule.holds is not None and not rule.holds(self):
                raise ValueError(rule.message)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the rules as CEL."""
        found = handler(schema)
        target = handler.resolve_ref_schema(found)
        if cls.rules:
            target["x-kubernetes-validations"] = [{"rule": r.cel, "message": r.message} for r in cls.rules]
        return found

    def to_api(self) -> dict[str, Any]:
        """Render what the API server is sent: camelCase keys, JSON values, nothing that is None."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusModel(Model):
    """A piece of a status. Unknown fields are dropped: a newer operator may have written it before a roll-back."""

    model_config = ConfigDict(extra="ignore")


class OwnerReference(StatusModel):
    """Whose child an object is."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(StatusModel):
    """The part of Kubernetes' metadata that our code reads."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()


class Resource(Model):
    """A whole object as the API server stores it."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()

    def to_api(self) -> dict[str, Any]:
        """Render the object, with only those parts of the metadata that were given."""
        metadata = self.metadata.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
        return {**super().to_api(), "metadata": metadata}
