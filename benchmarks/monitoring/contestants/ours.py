"""Perennial's drift monitor, asked for one false breach in 20 windows: what the observer computes, without its database."""

from pathlib import Path

import numpy as np
from perennial_api.durations import Duration
from perennial_api.modeldeployment.monitoring import (
    Alarm,
    Clear,
    Drift,
    DriftDetector,
    Engine,
    MonitorSettings,
    Reference,
    Seasonality,
    Window,
)
from perennial_bundle import Column, Schema
from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.monitors.prepared import prepare_reference
from perennial_observer.monitors.references.sources import Scope
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import DeploymentKey, LoggedRow

from benchmarks.monitoring.contest import Judge, contest
from benchmarks.monitoring.streams import FEATURES, SEASON, WINDOW, Floats

COLUMNS = [f"x{i}" for i in range(FEATURES)]
DAY_S = 24 * 3600.0
ROW_S = DAY_S / SEASON  # so that a season of the streams is a day
SETTINGS = MonitorSettings(
    window=Window(size=WINDOW, min_samples=WINDOW),
    false_alarm_every=Duration("5d"),  # 20 windows of a quarter of a day
    alarm=Alarm(breaches=1, of=1),
    clear=Clear(consecutive=1),
)
KS = Drift(detector=DriftDetector.KS, engine=Engine.NATIVE)


def build_judge(reference: Floats, spec: Drift = KS, seasonality: Seasonality = Seasonality.NONE) -> Judge:
    """Encode the reference; the first windows of a season calibrate."""
    schema = Schema(
        inputs=tuple(Column(name=name, datatype="FP64") for name in COLUMNS),
        outputs=(Column(name="predict", datatype="FP64", role="Output"),),
    )
    before = ROW_S * np.arange(len(reference))
    stored = StoredReference(
        revision="r",
        digest="",
        bundle_digest="",
        task="Regression",
        schema=schema,
        columns={name: values.tolist() for name, values in zip(COLUMNS, reference.T, strict=True)},
        outputs={},
        event_time=before.tolist(),
    )
    # The native engine needs no sidecar.
    nowhere = Sidecar(Path("/nonexistent"), 1.0)
    scope = Scope(DeploymentKey("uid", "bench", "bench"), "r", reference=Reference(seasonality=seasonality))
    monitor = prepare_reference(stored, scope, nowhere).drift(spec, of_outputs=False)
    for start in range(0, SEASON, WINDOW):
        monitor.assess(_rows(reference[start : start + WINDOW], start), SETTINGS)
    at = len(reference)

    def judge(window: Floats) -> tuple[float, bool]:
        nonlocal at
        said = monitor.assess(_rows(window, at), SETTINGS)
        at += len(window)
        assert said.breached is not None
        assert said.statistic is not None
        return said.statistic, said.breached

    return judge


def _rows(window: Floats, first: int) -> list[LoggedRow]:
    return [
        LoggedRow(id=i, event_time=i * ROW_S, inputs=dict(zip(COLUMNS, row, strict=True)), outputs={})
        for i, row in enumerate(np.asarray(window).tolist(), first)
    ]


if __name__ == "__main__":
    contest(build_judge, name="Perennial KS", version="")
