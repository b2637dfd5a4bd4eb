"""Read a bundle: check every byte first, load the model last and only from types that were reviewed."""

import hashlib
import threading
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from perennial_bundle.archive import looks_like_pickle, pack, read_manifest_bytes
from perennial_bundle.errors import DigestMismatch, InvalidBundle, ModelLoadFailed, UnsafeModel
from perennial_bundle.manifest import MODEL_FILE, REFERENCE_FILE, Manifest, parse_manifest
from perennial_bundle.reference import Reference, read_reference
from perennial_bundle.schema import Schema
from perennial_bundle.scoring import Outputs, score
from perennial_bundle.trusted import TRUSTED_TYPES

ZIP_MAGIC = b"PK\x03\x04"


class Bundle:
    """A bundle in a directory, whose files have been checked. Made by `load` and `save`."""

    def __init__(self, path: Path, manifest: Manifest, digest: str) -> None:
        self.path = path
        self.manifest = manifest
        self.digest = digest
        self._lock = threading.Lock()
        self._model: Any = None

    @property
    def schema(self) -> Schema:
        """Its inputs and outputs."""
        return self.manifest.schema_

    @property
    def model(self) -> Any:
        """The model, loaded at first use.

        Raises
        ------
        UnsafeModel
            It is a pickle, or needs a type that isn't reviewed.
        ModelLoadFailed
            These library versions can't load it.
        """
        with self._lock:
            if self._model is None:
                self._model = load_model(self.path / MODEL_FILE, self.manifest.libraries)
            return self._model

    @cached_property
    def _reference(self) -> Reference:
        return read_reference(self.path / REFERENCE_FILE, self.schema)

    def reference(self) -> Reference:
        """Read the reference sample (kept after the first call)."""
        return self._reference

    def predict(self, frame: pd.DataFrame) -> Outputs:
        """Predict rows that `Schema.validate` built; see `scoring.score`."""
        return score(self.model, self.schema, self.manifest.task, frame)


def predict(bundle: Bundle, frame: pd.DataFrame) -> Outputs:
    """Predict rows that ``bundle.schema.validate`` built; see `scoring.score` for shapes and dtypes."""
    return bundle.predict(frame)


def load(path: Path | str, *, expected_digest: str | None = None) -> Bundle:
    """Open the bundle in a directory and check its files; the model isn't loaded yet.

    Parameters
    ----------
    path
        The directory.
    expected_digest
        ``sha256:<hex>`` of the bundle's tar.

    Raises
    ------
    BundleNotFound, InvalidBundle, UnsafeModel
        There is no bundle, or not a sound one.
    DigestMismatch
        A file differs from the manifest, or the whole from `expected_digest`.
    """
    path = Path(path)
    manifest = parse_manifest(read_manifest_bytes(path))
    for name, want in manifest.files.items():
        got = _sha256(path / name)
        if got != want:
            raise DigestMismatch(f"{name} is sha256:{got[:12]}… where the manifest says sha256:{want[:12]}…")
    digest = pack(path, None)
    if expected_digest is not None and digest != expected_digest:
        raise DigestMismatch(f"the bundle is {digest} where {expected_digest} was asked for")
    check_is_skops(path / MODEL_FILE)
    return Bundle(path, manifest, digest)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise InvalidBundle(f"the manifest lists {path.name}, which isn't there") from error
    except OSError as error:
        raise InvalidBundle(f"{path.name} can't be read: {error}") from error


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
        head = file.read(8)
    if head.startswith(ZIP_MAGIC):
        return
    if looks_like_pickle(head) or head.startswith(
        (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"x\x9c", b"x\x01", b"x^")
    ):
        raise UnsafeModel(
            f"{path.name} is a pickle, which runs code when it is loaded; write the bundle with perennial_bundle.save"
        )
    raise InvalidBundle(f"{path.name} isn't a skops file")


def check_model_types(path: Path) -> None:
    """Refuse a skops file that holds a type nobody has reviewed.

    Raises
    ------
    UnsafeModel
        Naming the types.
    """
    import skops.io

    check_is_skops(path)
    try:
        untrusted = [t for t in skops.io.get_untrusted_types(file=path) if t not in TRUSTED_TYPES]
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, ImportError) as error:
        raise InvalidBundle(f"{path.name} isn't a skops file that can be read: {error!r}") from error
    if untrusted:
        raise UnsafeModel(
            f"the model holds {', '.join(untrusted[:5])}, which isn't among the types that servers load; "
            "build it from scikit-learn's own parts"
        )


def load_model(path: Path, libraries: dict[str, str]) -> Any:
    """Load a skops file whose types are all trusted; see `Bundle.model` for the errors."""
    import skops.io

    check_model_types(path)
    try:
        return skops.io.load(path, trusted=sorted(TRUSTED_TYPES))
    except Exception as error:
        saved_with = ", ".join(f"{name} {version}" for name, version in sorted(libraries.items()))
        raise ModelLoadFailed(f"{type(error).__name__}: {error} (saved with {saved_with})") from error
