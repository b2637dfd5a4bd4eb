"""Replace files so that a reader sees the old or the new one, whole, also after a crash."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside `path`, flush to disk, and rename over it; Envoy reloads on the rename."""
    temporary = _write_beside(path, content)
    temporary.replace(path)
    _sync_directory(path.parent)


def write_if_missing(path: Path, content: bytes) -> bool:
    """Write `path` unless it exists, even if somebody else creates it meanwhile; return whether it was written."""
    temporary = _write_beside(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _sync_directory(path.parent)
    return True


def _write_beside(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
