"""``bundle.json``: what a bundle says about itself."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from perennial_bundle.errors import InvalidBundle, UnsafeModel
from perennial_bundle.schema import Schema

MANIFEST_FILE = "bundle.json"
MODEL_FILE = "model.skops"
REFERENCE_FILE = "reference.parquet"
MAX_MANIFEST_BYTES = 4 * 2**20
FORMAT_VERSION = 1
UNSAFE_FORMATS = frozenset({"pickle", "joblib", "cloudpickle", "dill", "torch"})

Task = Literal["Classification", "Regression"]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """The manifest of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    format_version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=256, description="What its author calls the model.")
    format: Literal["skops"] = "skops"
    task: Task
    classes: tuple[bool | int | str, ...] | None = Field(
        default=None, description="A classifier's classes, in the order of its probabilities."
    )
    schema_: Schema = Field(alias="schema")
    files: dict[FileName, Sha256] = Field(
        max_length=16, description="SHA-256 of each file beside the manifest."
    )
    created_at: datetime = Field(description="When it was saved, UTC.")
    libraries: dict[str, str] = Field(max_length=64, description="Versions it was saved with.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Anything the author wants to keep.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in (MODEL_FILE, REFERENCE_FILE):
            if name not in self.files:
                raise ValueError(f"files lacks {name}")
        if MANIFEST_FILE in self.files:
            raise ValueError("files can't hold the manifest itself")
        if (self.task == "Classification") != (self.classes is not None):
            raise ValueError("classes belong to a Classification, and only to it")
        return self

    def to_json(self) -> bytes:
        """Write the manifest: the same manifest gives the same bytes."""
        document = self.model_dump(mode="json", by_alias=True)
        return (
            json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        ).encode()


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest.

    Raises
    ------
    UnsafeModel
        The bundle holds a pickle by another name.
    InvalidBundle
        Anything else that breaks the format.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise InvalidBundle(f"{MANIFEST_FILE} is larger than {MAX_MANIFEST_BYTES} bytes")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidBundle(f"{MANIFEST_FILE} isn't JSON: {error}") from error
    if isinstance(document, dict) and document.get("format") in UNSAFE_FORMATS:
        raise UnsafeModel(
            f"the model's format is {document['format']!r}, which runs code when it is loaded; "
            "write the bundle with perennial_bundle.save"
        )
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or MANIFEST_FILE
        raise InvalidBundle(f"{MANIFEST_FILE}: {where}: {first['msg']}") from error
