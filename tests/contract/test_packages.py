"""What our images install: nothing that is bound, dead or heavy. Read from the locks that they are made of."""

import re
from importlib.metadata import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCKS = [lock for lock in sorted((ROOT / "locks").glob("*.txt")) if lock.stem != "dev"]
OBSERVER = ROOT / "locks" / "observer.txt"
SIDECAR = ROOT / "observer" / "detector_sidecar" / "requirements.lock"
# Licences under which one may not run what one likes, or not for whom one likes.
BOUND = re.compile(
    r"BUSL|business.source|AGPL|affero|SSPL|server.side.public|commons.clause|elastic.licen|polyform|FSL-"
    r"|non-?commercial|proprietary",
    re.IGNORECASE,
)
DEEP = {"tensorflow", "keras", "torch", "jax", "pyspark"}


def read_lock(lock: Path) -> dict[str, Requirement]:
    """What a lock installs on this machine, by name."""
    lines = [line.rstrip(" \\") for line in lock.read_text().splitlines() if re.match(r"\w", line)]
    requirements = [Requirement(line) for line in lines]
    return {r.name.lower(): r for r in requirements if r.marker is None or r.marker.evaluate()}


def read_licence(name: str) -> str:
    """What a package says of its licence, briefly; its text, which may quote others', only where that is all."""
    told = metadata(name)
    classes = [line for line in told.get_all("Classifier") or () if line.startswith("License")]
    return " ".join([told.get("License-Expression") or "", *classes]).strip() or told.get("License") or ""


def find_bound(names: set[str]) -> set[str]:
    """The packages whose licence binds, or that have none."""
    licences = {name: read_licence(name) for name in names}
    return {name for name, licence in licences.items() if not licence or BOUND.search(licence)}


# 1: kserve#3380, #4314


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_pain_1_nothing_that_is_installed_has_a_licence_that_forbids_its_use(lock):
    assert find_bound(set(read_lock(lock))) == set()


@pytest.mark.parametrize(
    "line",
    [
        "License-Expression: BUSL-1.1",
        "License: Business Source License 1.1",
        "Classifier: License :: OSI Approved :: GNU Affero General Public License v3",
        "Classifier: Topic :: Software Development",
    ],
)
def test_pain_1_a_package_whose_licence_turns_is_found(line, tmp_path, monkeypatch):
    told = tmp_path / "turncoat-2.0.dist-info" / "METADATA"
    told.parent.mkdir()
    told.write_text(f"Metadata-Version: 2.4\nName: turncoat\nVersion: 2.0\n{line}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_bound({"turncoat", "numpy"}) == {"turncoat"}


def test_pain_1_alibi_detect_stays_at_its_last_free_release():
    assert str(read_lock(SIDECAR)["alibi-detect"].specifier) == "==0.11.4"


# 2: alibi-detect#902, #917; whylogs#1600, #1468


def test_pain_2_no_old_library_holds_back_what_the_observer_runs_on():
    assert "alibi-detect" not in read_lock(OBSERVER)
    assert str(read_lock(OBSERVER)["numpy"].specifier) >= "==2"


# 3: alibi-detect#388, #816


def test_pain_3_a_ks_test_needs_no_deep_learning():
    assert read_lock(OBSERVER).keys() & {*DEEP, "transformers", "numba", "alibi-detect"} == set()
    assert read_lock(SIDECAR).keys() & DEEP == set()
