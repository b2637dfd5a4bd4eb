"""scikit-learn models in skops files: only types that were reviewed, and only as much as the file's size allows."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from perennial_bundle.archive import looks_like_pickle
from perennial_bundle.errors import BundleError, InvalidBundle, ModelLoadFailed, UnsafeModel
from perennial_bundle.formats.shortcut import Shortcut, find_shortcut
from perennial_bundle.formats.trees import check_trees
from perennial_bundle.manifest import MODEL_FILE, REFERENCE_FILE, Manifest, Task
from perennial_bundle.reference import read_reference
from perennial_bundle.schema import Schema
from perennial_bundle.scoring import Outputs, score
from perennial_bundle.trusted import TRUSTED_TYPES

ZIP_MAGIC = b"PK\x03\x04"
MAX_ENTRIES = 200_000
MAX_SCHEMA_BYTES = 128 * 2**20
# `save` compresses nothing; a file that somebody has compressed by deflate stays below this ratio.
MAX_RATIO = 20
FREE_BYTES = 64 * 2**20
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"x\x9c", b"x\x01", b"x^", b"x\xda", b"\x04\x22\x4d\x18")


@dataclass(frozen=True)
class SkopsScorer:
    """A scikit-learn model behind the schema, and a shorter road to its answers if there is one."""

    model: Any
    schema: Schema
    task: Task
    shortcut: Shortcut | None = None

    def predict(self, frame: pd.DataFrame) -> Outputs:
        """Predict; see `scoring.score` for shapes and dtypes."""
        if self.shortcut is not None:
            return self.shortcut.predict(frame)
        return score(self.model, self.schema, self.task, frame)


class SkopsFormat:
    """``model.skops``."""

    def check(self, directory: Path, manifest: Manifest) -> None:  # noqa: ARG002  the protocol's
        """Check the first bytes, before any library opens it; see `check_is_skops` for the errors."""
        check_is_skops(directory / MODEL_FILE)

    def load(self, directory: Path, manifest: Manifest) -> SkopsScorer:
        """Load the model; see `load_model` for the errors."""
        model = load_model(directory / MODEL_FILE, manifest.libraries)
        schema, task = manifest.schema_, manifest.task
        try:
            rows = read_reference(directory / REFERENCE_FILE, schema).inputs
        except BundleError:  # told to those who need it
            return SkopsScorer(model, schema, task)
        return SkopsScorer(model, schema, task, find_shortcut(model, schema, task, rows))


def check_is_skops(path: Path) -> None:
    """Refuse what isn't a skops file by its first bytes, before any library opens it.

    Raises
    ------
    UnsafeModel
        It is a pickle, plain or compressed.
    InvalidBundle
        It is something else.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(ZIP_MAGIC):
        return
    if looks_like_pickle(head) or head.startswith(_COMPRESSED):
        raise UnsafeModel(
            f"{path.name} is a pickle, which runs code when it is loaded; write the bundle with perennial_bundle.save"
        )
    raise InvalidBundle(f"{path.name} isn't a skops file")


def check_model_types(path: Path) -> None:
    """Refuse a skops file that is out of proportion, or that holds a type nobody has reviewed.

    Raises
    ------
    UnsafeModel
        Naming the types.
    InvalidBundle
        It isn't a sound skops file.
    """
    check_is_skops(path)
    _check_sizes(path)
    import skops.io

    try:
        untrusted = [t for t in skops.io.get_untrusted_types(file=path) if t not in TRUSTED_TYPES]
    except Exception as error:
        # The file decides what goes wrong here: a bad zip, a missing key, a nesting too deep, a wrong module.
        raise InvalidBundle(f"{path.name} isn't a skops file that can be read: {error!r:.500}") from error
    if untrusted:
        raise UnsafeModel(
            f"the model holds {', '.join(untrusted[:5])}, which isn't among the types that servers load; "
            "build it from scikit-learn's own parts"
        )


def _check_sizes(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as file:
            sizes = {entry.filename: entry.file_size for entry in file.infolist()}
            n_entries = len(file.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InvalidBundle(f"{path.name} isn't a skops file that can be read: {error}") from error
    limit = FREE_BYTES + MAX_RATIO * path.stat().st_size
    if n_entries > MAX_ENTRIES or len(sizes) != n_entries:
        raise InvalidBundle(f"{path.name} holds {n_entries} parts, too many or two of one name")
    if sum(sizes.values()) > limit or sizes.get("schema.json", 0) > MAX_SCHEMA_BYTES:
        raise InvalidBundle(
            f"{path.name} would unpack to {sum(sizes.values())} bytes, out of proportion to its size; "
            "write it with perennial_bundle.save, which compresses nothing"
        )


def load_model(path: Path, libraries: dict[str, str]) -> Any:
    """Load a skops file whose types are all trusted; see `Bundle.model` for the errors."""
    check_model_types(path)
    import skops.io

    try:
        model = skops.io.load(path, trusted=sorted(TRUSTED_TYPES))
        check_trees(model)
    except BundleError:
        raise
    except Exception as error:
        saved_with = ", ".join(f"{name} {version}" for name, version in sorted(libraries.items()))
        raise ModelLoadFailed(f"{type(error).__name__}: {error} (saved with {saved_with})") from error
    return model
