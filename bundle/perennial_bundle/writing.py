"""The last steps of writing a bundle, the same for every format: files, manifest, and the proof that it works."""

import hashlib
import platform
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from perennial_bundle.bundle import Bundle, load
from perennial_bundle.errors import InvalidBundle
from perennial_bundle.manifest import MANIFEST_FILE, REFERENCE_FILE, Ensemble, FormatName, Manifest, Task
from perennial_bundle.preparing import Prepared
from perennial_bundle.reference import write_reference
from perennial_bundle.rows import Checked
from perennial_bundle.schema import Schema
from perennial_bundle.scoring import Outputs


@dataclass(frozen=True)
class Draft:
    """All that a bundle says about itself but for its files.

    Parameters
    ----------
    name
        None: the directory's name.
    libraries
        Distributions whose versions are written down.
    """

    name: str | None
    task: Task
    classes: tuple[bool | int | str, ...] | None
    schema: Schema
    libraries: Collection[str]
    metadata: Mapping[str, Any]
    format: FormatName = "skops"
    ensemble: Ensemble | None = None


def write_bundle(
    path: Path,
    draft: Draft,
    data: Prepared,
    outputs: Outputs,
    write_model: Callable[[Path], None],
) -> Bundle:
    """Write a bundle beside `path`, read it back, compare its answers with `outputs`, and put it in its place.

    Parameters
    ----------
    outputs
        What the model says to the reference rows.
    write_model
        Writes the model's files into the directory it is given.

    Raises
    ------
    InvalidBundle, UnsafeModel
        Saying what to change.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=path.parent) as scratch:
        directory = Path(scratch) / "bundle"
        directory.mkdir()
        write_model(directory)
        write_reference(directory / REFERENCE_FILE, draft.schema, data.columns, outputs, data.labels)
        _write_manifest(directory, draft, draft.name or path.resolve().name)
        again = load(directory)
        got = again.predict(again.reference().inputs)
        check_same(outputs, got, "the model answers otherwise after it was saved")
        _replace(directory, path)
    return load(path)


def check_same(want: Outputs, got: Outputs, otherwise: str) -> None:
    """Compare two answers to the same rows.

    Raises
    ------
    InvalidBundle
        They differ; `otherwise` begins the sentence that says so.
    """
    for name, values in want.items():
        numeric = values.dtype.kind in "fiub"
        if not (
            np.allclose(values, got[name], equal_nan=True) if numeric else bool((values == got[name]).all())
        ):
            raise InvalidBundle(f"{otherwise} ({name} differs); check the dtypes of X's columns")


def check_as_given(
    checked: Checked, outputs: Outputs, frame: pd.DataFrame, predict: Callable[[pd.DataFrame], Outputs]
) -> None:
    """Compare the answers to rows read from a request with those to the author's frame, but for what is imputed.

    Raises
    ------
    InvalidBundle
        They differ.
    """
    imputed = checked.imputed_rows
    if kept := [row for row in range(len(frame)) if row not in imputed]:
        want = {name: values[kept] for name, values in outputs.items()}
        check_same(want, predict(frame.iloc[kept]), "the model answers otherwise to rows read from a request")


def _write_manifest(directory: Path, draft: Draft, name: str) -> None:
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(directory.iterdir())}
    try:
        manifest = Manifest(
            name=name,
            format=draft.format,
            task=draft.task,
            classes=draft.classes,
            schema_=draft.schema,
            ensemble=draft.ensemble,
            files=files,
            created_at=datetime.now(UTC),
            libraries={"python": platform.python_version(), **{lib: version(lib) for lib in draft.libraries}},
            metadata=dict(draft.metadata),
        )
        (directory / MANIFEST_FILE).write_bytes(manifest.to_json())
    except (ValidationError, ValueError) as error:
        raise InvalidBundle(f"the manifest can't be written: {error}") from error


def _replace(directory: Path, path: Path) -> None:
    """Put the finished directory in its place; nothing but a bundle or an empty directory is replaced."""
    if path.exists():
        if not path.is_dir() or (any(path.iterdir()) and not (path / MANIFEST_FILE).is_file()):
            raise InvalidBundle(f"{path} exists and isn't a bundle; choose another path")
        shutil.rmtree(path)
    directory.rename(path)
