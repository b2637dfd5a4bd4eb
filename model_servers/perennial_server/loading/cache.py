"""Bundles that are already here: a container that restarts finds what it fetched before, in a directory of its pod.

::

    <work_dir>/sha256-<hex>/       whole; got its name only after its digest had been checked
    <work_dir>/unfinished-<any>/   being fetched, or left by a process that was killed

A bundle that is found is hashed anew before it is used, as if it had come over the network: a process of this pod
may have been made to write there.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perennial_bundle import Bundle, BundleError, load

logger = logging.getLogger(__name__)

_UNFINISHED = "unfinished-"


class Cache:
    """The bundles in one directory, which one process at a time uses.

    Parameters
    ----------
    directory
        Made if it isn't there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, digest: str | None) -> Bundle | None:
        """Open the bundle of a digest, if it is here and still what it was. All else makes room."""
        place = None if digest is None else self._place(digest)
        bundle = None
        if place is not None and place.is_dir():
            try:
                bundle = load(place, expected_digest=digest)
            except BundleError as error:
                logger.warning("a bundle that is here isn't used digest=%s reason=%s", digest, error.reason)
        for found in self._directory.glob("*") if self._directory.is_dir() else ():
            if found.name.startswith((_UNFINISHED, "sha256-")) and (bundle is None or found != place):
                shutil.rmtree(found, ignore_errors=True)
        return bundle

    @contextmanager
    def begin(self) -> Iterator[Path]:
        """Give out an empty directory that goes away again unless it is kept."""
        self._directory.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._directory))
        try:
            yield unfinished
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def keep(self, unpacked: Path, digest: str) -> Path:
        """Give a checked bundle its name; return where it is."""
        place = self._place(digest)
        shutil.rmtree(place, ignore_errors=True)
        return unpacked.replace(place)

    def _place(self, digest: str) -> Path:
        return self._directory / digest.replace(":", "-")
