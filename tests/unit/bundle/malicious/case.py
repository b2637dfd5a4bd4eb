"""How a spoiled bundle is made: one function each, registered with what has to be said about it."""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import perennial_bundle


@dataclass(frozen=True)
class Place:
    """Where a case is made.

    Parameters
    ----------
    root
        Takes a directory ``bundle``, or an archive ``bundle.tar``.
    good
        Sound bundles by kind, not to be changed.
    """

    root: Path
    good: dict[str, Path]

    @property
    def canary(self):
        """The file that a payload would create."""
        return self.root / "canary"

    @property
    def archive(self):
        return self.root / "bundle.tar"

    def copy(self, kind="forest"):
        """Return a copy of a sound bundle, to be spoiled."""
        return shutil.copytree(self.good[kind], self.root / "bundle")


@dataclass(frozen=True)
class Case:
    """A spoiled bundle, and the error that it has to end in."""

    name: str
    build: Callable[[Place], None]
    reason: str
    message: str


CASES: dict[str, Case] = {}


def case(reason, message):
    """Register a function as a case, under its name."""

    def register(build):
        name = build.__name__.replace("_", "-")
        CASES[name] = Case(name, build, reason, message)
        return build

    return register


def rewrite(bundle, name, data):
    """Replace a file and its digest in the manifest, as somebody who means harm would."""
    (bundle / name).write_bytes(data)
    change_manifest(bundle, lambda m: m["files"].__setitem__(name, hashlib.sha256(data).hexdigest()))


def change_manifest(bundle, change):
    manifest = json.loads((bundle / "bundle.json").read_text())
    change(manifest)
    (bundle / "bundle.json").write_text(json.dumps(manifest))


def repack(bundle, change, compression=zipfile.ZIP_STORED):
    """Write the skops file anew: `change` takes its parts by name, and changes them."""
    with zipfile.ZipFile(bundle / "model.skops") as source:
        parts = {name: source.read(name) for name in source.namelist()}
    change(parts)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as target:
        for name, data in parts.items():
            target.writestr(name, data)
    rewrite(bundle, "model.skops", buffer.getvalue())


def pack(bundle):
    buffer = io.BytesIO()
    perennial_bundle.pack(bundle, buffer)
    return buffer.getvalue()
