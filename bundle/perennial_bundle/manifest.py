"""``bundle.json``: what a bundle says about itself."""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from perennial_bundle.errors import InvalidBundle, UnsafeModel
from perennial_bundle.schema import Schema

MANIFEST_FILE = "bundle.json"
MODEL_FILE = "model.skops"
ONNX_FILE = "model.onnx"
FINAL_FILE = "final.skops"
REFERENCE_FILE = "reference.parquet"
MAX_MANIFEST_BYTES = 4 * 2**20
MAX_DEPTH = 32
MAX_MEMBERS = 7  # two outputs of each member and two of the whole are the most that a schema holds
FORMAT_VERSION = 1
UNSAFE_FORMATS = frozenset({"pickle", "joblib", "cloudpickle", "dill", "torch"})

FormatName = Literal["skops", "onnx", "ensemble"]
Method = Literal["Voting", "Weighted", "Stacking"]
Task = Literal["Classification", "Regression"]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
MemberName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

_MODEL_FILES: Final[Mapping[str, str]] = {"skops": MODEL_FILE, "onnx": ONNX_FILE}


class Ensemble(BaseModel):
    """How the members of an ensemble become one answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = Field(
        description="Voting and Weighted take the (weighted) mean of probabilities or numbers; Stacking a model."
    )
    members: tuple[MemberName, ...] = Field(min_length=2, max_length=MAX_MEMBERS, description="In order.")
    weights: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] | None = Field(
        default=None, description="One for each member, of which at least one is positive; Weighted only."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.members)) != len(self.members):
            raise ValueError("two members have one name")
        if (self.method == "Weighted") != (self.weights is not None):
            raise ValueError("weights belong to the method Weighted, and only to it")
        if self.weights is not None and (len(self.weights) != len(self.members) or not sum(self.weights)):
            raise ValueError("weights needs one for each member, of which at least one is positive")
        return self

    def file_of(self, member: str) -> str:
        """Name the file that holds a member's own bundle, as a tar."""
        return f"member-{member}.tar"

    @property
    def files(self) -> tuple[str, ...]:
        """Files of the members, and of the model above them."""
        final = (FINAL_FILE,) if self.method == "Stacking" else ()
        return (*(self.file_of(member) for member in self.members), *final)


class Manifest(BaseModel):
    """The manifest of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    format_version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=256, description="What its author calls the model.")
    format: FormatName = Field(default="skops", description="What kind of file the model is.")
    task: Task
    classes: tuple[bool | int | str, ...] | None = Field(
        default=None, description="A classifier's classes, in the order of its probabilities."
    )
    schema_: Schema = Field(alias="schema")
    ensemble: Ensemble | None = Field(default=None, description="Of the format ensemble: its members.")
    files: dict[FileName, Sha256] = Field(
        max_length=16, description="SHA-256 of each file beside the manifest."
    )
    created_at: datetime = Field(description="When it was saved, UTC.")
    libraries: dict[str, str] = Field(max_length=64, description="Versions it was saved with.")
    metadata: dict[str, Any] = Field(default_factory=dict, description="Anything the author wants to keep.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.format == "ensemble") != (self.ensemble is not None):
            raise ValueError("ensemble belongs to the format ensemble, and only to it")
        for name in (*self.model_files, REFERENCE_FILE):
            if name not in self.files:
                raise ValueError(f"files lacks {name}")
        if MANIFEST_FILE in self.files:
            raise ValueError("files can't hold the manifest itself")
        if (self.task == "Classification") != (self.classes is not None):
            raise ValueError("classes belong to a Classification, and only to it")
        return self

    @property
    def model_files(self) -> tuple[str, ...]:
        """Names of the files that make the model."""
        return self.ensemble.files if self.ensemble is not None else (_MODEL_FILES[self.format],)

    def to_json(self) -> bytes:
        """Write the manifest: the same manifest gives the same bytes."""
        document = self.model_dump(mode="json", by_alias=True)
        if self.ensemble is None:
            del document["ensemble"]
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
    document = _parse_json(data)
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


def _parse_json(data: bytes) -> Any:
    """Read JSON that means the same to every reader: no key twice, no number beyond JSON's, no deep nesting."""
    try:
        document = json.loads(data, object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InvalidBundle(f"{MANIFEST_FILE} isn't JSON: {error}") from error
    level, depth = [document], 0
    while level := [child for value in level for child in _children(value)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise InvalidBundle(f"{MANIFEST_FILE} is nested deeper than {MAX_DEPTH} levels")
    return document


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in pairs:
        if name in document:
            raise ValueError(f"the key {name[:100]!r} is there twice")
        document[name] = value
    return document


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:30]} isn't a finite number")
    return number
