"""The adapter's declaration, as the operator hands it over in PERENNIAL_ADAPTER; see docs/seams.md."""

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from perennial_bundle import Column, Schema
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel, to_snake


def _read_column(value: Any) -> Any:
    """Spell a column's fields as a bundle's schema does."""
    return {to_snake(key): field for key, field in value.items()} if isinstance(value, dict) else value


def _read_output(value: Any) -> Any:
    return {**value, "role": "Output"} if isinstance(value, dict) else value


class _Declared(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class RequestForm(_Declared):
    """The JSON that the model is sent."""

    shape: Literal["Columns", "Rows", "Matrix"] = Field(
        default="Columns", description="How rows are written."
    )
    field: str | None = Field(default=None, description="Name under which they stand in an object.")


class ResponseForm(_Declared):
    """The JSON that it answers."""

    shape: Literal["Columns", "Rows", "List"] = Field(
        default="Columns", description="How outputs are written."
    )
    field: str | None = Field(default=None, description="Name under which they stand in an object.")


class Declaration(_Declared):
    """How the model is asked, and what goes in and comes out."""

    format: Literal["bento", "container"] = Field(description="The runtime's format.")
    port: int = Field(ge=1, le=65535, description="Port of the model on loopback.")
    path: str = Field(default="/predict", pattern=r"^/", description="Where rows are posted.")
    request: RequestForm = RequestForm()
    response: ResponseForm = ResponseForm()
    ready_path: str | None = Field(
        default=None, pattern=r"^/", description="Answers 2xx when the model can predict."
    )
    timeout_s: float = Field(default=10, gt=0, le=300, description="For one call, in seconds.")
    inputs: tuple[Annotated[Column, BeforeValidator(_read_column)], ...]
    outputs: tuple[Annotated[Column, BeforeValidator(_read_output)], ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ = self.columns
        if self.response.shape == "List" and len(self.outputs) > 1:
            raise ValueError("response.shape List has values of one output, and there are more")
        return self

    @cached_property
    def columns(self) -> Schema:
        """Inputs and outputs, as for a bundle."""
        return Schema(inputs=self.inputs, outputs=self.outputs)

    @property
    def classes(self) -> None:
        """No list of classes: each output has one value for a row."""
        return None
