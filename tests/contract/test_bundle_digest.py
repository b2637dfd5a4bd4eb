"""The command line and the bundle library must give the same bundle the same digest."""

from __future__ import annotations

import io

import pandas as pd
import perennial_bundle
import pytest
from perennial.cli.archive import open_archive
from sklearn.linear_model import LogisticRegression


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bundle") / "wine"
    rows = pd.DataFrame(
        {"alcohol": [float(i % 17) for i in range(200)], "sugar": [float(i % 5) for i in range(200)]}
    )
    labels = [int(a > 8) for a in rows["alcohol"]]
    perennial_bundle.save(LogisticRegression().fit(rows, labels), rows, directory, y=labels)
    return directory


def test_command_line_and_library_write_the_same_tar(bundle) -> None:
    want = io.BytesIO()
    digest = perennial_bundle.pack(bundle, want)
    with open_archive(bundle) as got:
        assert got.digest == digest
        assert got.path.read_bytes() == want.getvalue()


def test_pushed_tar_is_a_bundle_to_the_library(bundle, tmp_path) -> None:
    with open_archive(bundle) as got, got.path.open("rb") as file:
        assert perennial_bundle.unpack(file, tmp_path / "again", expected_digest=got.digest) == got.digest
