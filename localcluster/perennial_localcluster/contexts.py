"""What an image depends on: a hash of its Containerfile, its arguments and the files it copies.

Pure but for reading files; decides whether a build can be skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

# Never part of an image, and changing all the time.
IGNORED = frozenset(
    {".git", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
)


def find_copied(containerfile: str) -> list[str]:
    r"""Return the sources of COPY and ADD, relative to the context.

    ``["."]``, everything, where a source holds a variable or a form that this does not know.

    Examples
    --------
    >>> find_copied("FROM base\nCOPY a.txt b /opt/\nCOPY --from=0 /x /y")
    ['a.txt', 'b']
    """
    sources: list[str] = []
    for line in containerfile.replace("\\\n", " ").splitlines():
        words = line.split()
        if not words or words[0].upper() not in ("COPY", "ADD"):
            continue
        if any(word.startswith("--from") for word in words):
            continue
        plain = [word for word in words[1:] if not word.startswith("--")]
        if any("$" in word or word.startswith(("[", "<<")) for word in plain):
            return ["."]
        sources += plain[:-1]
    return sources


def list_files(context: Path, sources: Iterable[str]) -> Iterator[Path]:
    """Yield the files behind the sources of COPY, each once, sorted."""
    found: set[Path] = set()
    for source in sources:
        pattern = source.strip("/")
        matches = [context] if pattern in ("", ".") else list(context.glob(pattern.removeprefix("./")))
        for match in matches:
            if match.is_dir():
                found.update(_walk(match))
            else:
                found.add(match)
    yield from sorted(found)


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in IGNORED]
        yield from (Path(parent) / name for name in files if not name.endswith(".pyc"))


def compute_hash(context: Path, containerfile: Path, build_args: Mapping[str, str], base_id: str) -> str:
    """Return the hash under which a build is remembered."""
    text = containerfile.read_text()
    digest = hashlib.sha256(json.dumps([text, sorted(build_args.items()), base_id]).encode())
    for file in list_files(context, find_copied(text)):
        digest.update(str(file.relative_to(context)).encode() + b"\0")
        digest.update(f"{file.lstat().st_mode:o}".encode())
        # A dangling link is copied as a link: its target's name is its content.
        content = os.readlink(file).encode() if file.is_symlink() else file.read_bytes()  # noqa: PTH115 - relative text
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
