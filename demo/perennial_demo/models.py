"""The demo's three artefacts: the winter's model, the rows it was trained on, and a version that is bad on purpose."""

from __future__ import annotations

import json
import os
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import perennial_bundle
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from perennial_demo.flights import EVENT_TIME, FEATURES, LABEL
from perennial_demo.install import ROOT

TRAINING_MONTHS = (1, 2)
# Destinations that the bad version knows: it fails for the rest, about a quarter of the flights.
KNOWN_DESTINATIONS = 40


@dataclass(frozen=True)
class Artefacts:
    """Where the artefacts were written."""

    model: Path
    base: Path
    bad: Path


def write_artefacts(flights: pd.DataFrame, folder: Path) -> Artefacts:
    """Train on January and February and write model, base rows and bad version below `folder`."""
    winter = flights[flights["month"].isin(TRAINING_MONTHS)]
    build_pipeline = runpy.run_path(str(ROOT / "examples" / "01-flights" / "train.py"))["build_pipeline"]
    model = build_pipeline().fit(winter[FEATURES], winter[LABEL])
    rows = winter[[*FEATURES, EVENT_TIME]]
    perennial_bundle.save(
        model, rows, folder / "flights", y=winter[LABEL], event_time=EVENT_TIME, name="flights"
    )
    base = folder / "base.parquet"
    winter[[*FEATURES, EVENT_TIME]].assign(label=winter[LABEL], event_time=winter["time_s"]).to_parquet(base)
    return Artefacts(folder / "flights", base, _write_bad(winter, folder / "bad"))


def _write_bad(winter: pd.DataFrame, folder: Path) -> Path:
    """Write a model that raises for destinations it never saw, under a schema that was edited to let them pass."""
    common = winter["dest"].value_counts().index[:KNOWN_DESTINATIONS]
    known = winter[winter["dest"].isin(common)].dropna()
    encode = OneHotEncoder(handle_unknown="error", sparse_output=False)
    columns = make_column_transformer((encode, ["dest"]), (StandardScaler(), ["hour", "distance"]))
    model: Any = make_pipeline(columns, LogisticRegression(max_iter=200)).fit(known[FEATURES], known[LABEL])
    perennial_bundle.save(
        model, known[[*FEATURES, EVENT_TIME]], folder, y=known[LABEL], event_time=EVENT_TIME, name="flights"
    )
    manifest_file = folder / "bundle.json"
    manifest = json.loads(manifest_file.read_text())
    for column in manifest["schema"]["inputs"]:
        column["allow_missing"] = True
        if column.get("categories"):
            column["unknown_category"] = "Pass"
    changed = manifest_file.with_suffix(".new")
    changed.write_text(json.dumps(manifest))
    os.replace(changed, manifest_file)  # noqa: PTH105 - atomic on the same folder
    return folder
