"""The demo's three artefacts, written by the example's own scripts: model, base rows, a version bad on purpose."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from perennial_demo.install import ROOT

TRAINING_MONTHS = (1, 2)
SCRIPTS = ROOT / "examples" / "01-flights"
TIMEOUT_S = 300


@dataclass(frozen=True)
class Artefacts:
    """Where the artefacts were written."""

    model: Path
    base: Path
    bad: Path


def write_artefacts(folder: Path) -> Artefacts:
    """Run the example's scripts as a user does and return what they wrote below `folder`.

    Raises
    ------
    subprocess.CalledProcessError
        A script failed; what it said has been printed.
    """
    artefacts = Artefacts(folder / "flights", folder / "base.parquet", folder / "bad")
    _run("train.py", artefacts.model, "--base", artefacts.base)
    _run("bad_version.py", artefacts.bad)
    return artefacts


def _run(script: str, *arguments: str | Path) -> None:
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    subprocess.run(command, check=True, timeout=TIMEOUT_S, stdout=subprocess.DEVNULL)
