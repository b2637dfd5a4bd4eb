"""The sidecar as its image runs it."""

from collections.abc import Iterator

import pytest
from perennial_observer.detectors.sidecar import Sidecar

from tests.contract.detectors.process import make_python, run_sidecar


@pytest.fixture(scope="session")
def sidecar_python() -> str:
    return make_python()


@pytest.fixture(scope="session")
def sidecar(sidecar_python: str) -> Iterator[Sidecar]:
    with run_sidecar(sidecar_python) as path:
        yield Sidecar(path, 30.0)
