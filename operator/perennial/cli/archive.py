"""Check a bundle and write its deterministic tar.

`perennial_bundle` does the same where models are saved; the command line can't import it, since it
carries scikit-learn. A contract test holds both to the same digest.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from perennial_api.modelruntime import ModelFormat

from perennial.cli.errors import BadBundleError

BUNDLE_FORMATS = tuple(known.value for known in ModelFormat if not known.is_image)
MANIFEST_FILE = "bundle.json"
MAX_MANIFEST_BYTES = 4 * 2**20
CHUNK_BYTES = 1 << 20

_PARQUET_MAGIC = b"PAR1"
_PICKLE_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"ZF")


@dataclass(frozen=True, slots=True)
class Archive:
    """A file ready to be pushed, and its digest ``sha256:<hex>``."""

    path: Path
    digest: str
    size_bytes: int

    @property
    def uri(self) -> str:
        """The address to write into ``spec.model.uri``."""
        return f"perennial://{self.digest}"


@contextmanager
def open_archive(source: Path) -> Iterator[Archive]:
    """Yield what to push for a bundle's directory, a bundle's tar, or a data set in one Parquet file.

    Raises
    ------
    BadBundleError
        If it is none of these, or a file differs from what the manifest says.
    """
    if not source.exists():
        raise BadBundleError(f"There is no {source}.")
    if not source.is_dir():
        _check_file(source)
        yield _describe(source)
        return
    files = _read_manifest(_read_limited(source / MANIFEST_FILE), source)
    for name, want in files.items():
        with _open_listed(source / name) as file:
            _compare(name, want, _sha256(file))
    with TemporaryDirectory(prefix="perennial-push-") as directory:
        path = Path(directory) / "bundle.tar"
        write_tar(source, [MANIFEST_FILE, *files], path)
        yield _describe(path)


def write_tar(directory: Path, names: list[str], target: Path) -> None:
    """Write files into a tar that is the same on every machine: sorted names, no owner, time 0, mode 0644."""
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(names):
            path = directory / name
            info = tarfile.TarInfo(name)
            info.size = path.stat().st_size
            info.mode = 0o644
            with path.open("rb") as file:
                tar.addfile(info, file)


def _describe(path: Path) -> Archive:
    with path.open("rb") as file:
        return Archive(path, f"sha256:{_sha256(file)}", path.stat().st_size)


def _check_file(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(4)
    if head == _PARQUET_MAGIC:
        return
    if head.startswith(_PICKLE_MAGIC):
        raise BadBundleError(
            f"{path} is a pickle, which runs code when it is loaded. "
            "Write a bundle with perennial_bundle.save and push its directory."
        )
    try:
        with tarfile.open(path, "r:") as tar:
            _check_tar(tar, path)
    except tarfile.TarError as error:
        raise BadBundleError(
            f"{path} is neither a bundle's directory, nor its tar, nor a Parquet file."
        ) from error


def _check_tar(tar: tarfile.TarFile, path: Path) -> None:
    hashes: dict[str, str] = {}
    manifest: bytes | None = None
    for member in tar:
        file = tar.extractfile(member) if member.isreg() else None
        if file is None or "/" in member.name:
            raise BadBundleError(
                f"{path} holds {member.name!r}; a bundle holds plain files only, without folders."
            )
        if member.name == MANIFEST_FILE:
            manifest = file.read(MAX_MANIFEST_BYTES + 1)
        else:
            hashes[member.name] = _sha256(file)
    if manifest is None:
        raise BadBundleError(f"{path} holds no {MANIFEST_FILE}: it is not a bundle's tar.")
    for name, want in _read_manifest(manifest, path).items():
        if name not in hashes:
            raise BadBundleError(f"{MANIFEST_FILE} lists {name}, which {path} does not hold.")
        _compare(name, want, hashes[name])


def _read_limited(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise BadBundleError(
            f"There is no readable {MANIFEST_FILE} in {path.parent}. Write a bundle with perennial_bundle.save."
        ) from error


def _read_manifest(content: bytes, source: Path) -> Mapping[str, str]:
    """Return the manifest's files with their hashes; the server checks the rest of it."""
    if len(content) > MAX_MANIFEST_BYTES:
        raise BadBundleError(f"{MANIFEST_FILE} in {source} is larger than {MAX_MANIFEST_BYTES} bytes.")
    try:
        manifest = json.loads(content)
        files = manifest["files"]
        model_format = manifest["format"]
        valid = all(isinstance(value, str) and Path(name).name == name for name, value in files.items())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadBundleError(
            f"{MANIFEST_FILE} in {source} is not a manifest. Write the bundle with perennial_bundle.save."
        ) from error
    if not valid:
        raise BadBundleError(
            f"{MANIFEST_FILE} in {source} lists files outside the bundle, or without a hash."
        )
    if model_format not in BUNDLE_FORMATS:
        raise BadBundleError(
            f"The model's format is {model_format!r}; a bundle is of {', '.join(BUNDLE_FORMATS)}."
        )
    return dict(files)


def _open_listed(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise BadBundleError(
            f"{MANIFEST_FILE} lists {path.name}, which can't be read in {path.parent}."
        ) from error


def _compare(name: str, want: str, got: str) -> None:
    if got != want:
        raise BadBundleError(
            f"{name} is not the file that {MANIFEST_FILE} describes (sha256 {got[:12]}…, listed {want[:12]}…): "
            "it was changed or truncated. Save the bundle again."
        )


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
