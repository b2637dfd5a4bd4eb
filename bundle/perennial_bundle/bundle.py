"""Read a bundle: check every byte first, load the model last and only from types that were reviewed."""

import hashlib
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from perennial_bundle.archive import open_plain, pack, read_manifest_bytes
from perennial_bundle.errors import DigestMismatch, InvalidBundle
from perennial_bundle.formats import FORMATS, Scorer
from perennial_bundle.manifest import REFERENCE_FILE, Manifest, parse_manifest
from perennial_bundle.reference import Reference, read_reference
from perennial_bundle.schema import Schema
from perennial_bundle.scoring import Outputs


class Bundle:
    """A bundle in a directory, whose files have been checked. Made by `load` and `save`."""

    def __init__(self, path: Path, manifest: Manifest, digest: str) -> None:
        self.path = path
        self.manifest = manifest
        self.digest = digest
        self._lock = threading.Lock()
        self._scorer: Scorer | None = None

    @property
    def schema(self) -> Schema:
        """Its inputs and outputs."""
        return self.manifest.schema_

    @property
    def scorer(self) -> Scorer:
        """The loaded model, whatever its format; loaded at first use.

        Raises
        ------
        UnsafeModel
            It is a pickle, or needs a type or a library that isn't reviewed.
        InvalidBundle
            Its file is damaged.
        ModelLoadFailed
            These library versions can't load it.
        """
        with self._lock:
            if self._scorer is None:
                self._scorer = FORMATS[self.manifest.format].load(self.path, self.manifest)
            return self._scorer

    @property
    def model(self) -> Any:
        """The scikit-learn estimator, for those who fit it again; see `scorer` for more errors.

        Raises
        ------
        InvalidBundle
            The format has none.
        """
        model = self.scorer.model
        if model is None:
            raise InvalidBundle(
                f"a bundle of the format {self.manifest.format} holds no scikit-learn model; "
                "only one that perennial_bundle.save wrote can be fitted again"
            )
        return model

    @cached_property
    def _reference(self) -> Reference:
        return read_reference(self.path / REFERENCE_FILE, self.schema)

    def reference(self) -> Reference:
        """Read the reference sample (kept after the first call)."""
        return self._reference

    def predict(self, frame: pd.DataFrame) -> Outputs:
        """Predict rows that `Schema.validate` built; see `scoring.score`."""
        return self.scorer.predict(frame)


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
    FORMATS[manifest.format].check(path, manifest)
    return Bundle(path, manifest, digest)


def _sha256(path: Path) -> str:
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise InvalidBundle(f"the manifest lists {path.name}, which isn't there") from error
    except OSError as error:
        raise InvalidBundle(f"{path.name} can't be read: {error}") from error
