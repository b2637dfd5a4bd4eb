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
    Window,
)
from perennial_bundle import Column, Schema
from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.monitors.prepared import prepare_reference
from perennial_observer.monitors.references.sources import Scope
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import DeploymentKey, LoggedRow

from benchmarks.monitoring.contest import Judge, contest
from benchmarks.monitoring.streams import FEATURES, WINDOW, Floats

COLUMNS = [f"x{i}" for i in range(FEATURES)]
ROW_S = 3.6
SETTINGS = MonitorSettings(
    window=Window(size=WINDOW, min_samples=WINDOW),
    false_alarm_every=Duration("20h"),  # a window is an hour
    alarm=Alarm(breaches=1, of=1),
    clear=Clear(consecutive=1),
)


def make(reference: Floats) -> Judge:
    """Encode the reference; the first window calibrates."""
    schema = Schema(
        inputs=tuple(Column(name=name, datatype="FP64") for name in COLUMNS),
        outputs=(Column(name="predict", datatype="FP64", role="Output"),),
    )
    stored = StoredReference(
        revision="r",
        digest="",
        bundle_digest="",
        task="Regression",
        schema=schema,
        columns={name: values.tolist() for name, values in zip(COLUMNS, reference.T, strict=True)},
        outputs={},
        event_time=None,
    )
    # The native engine needs no sidecar.
    nowhere = Sidecar(Path("/nonexistent"), 1.0)
    scope = Scope(DeploymentKey("uid", "bench", "bench"), "r")
    spec = Drift(detector=DriftDetector.KS, engine=Engine.NATIVE)
    monitor = prepare_reference(stored, scope, nowhere).drift(spec, of_outputs=False)
    monitor.assess(_rows(reference[:WINDOW]), SETTINGS)

    def judge(window: Floats) -> tuple[float, bool]:
        said = monitor.assess(_rows(window), SETTINGS)
        assert said.breached is not None
        assert said.statistic is not None
        return said.statistic, said.breached

    return judge


def _rows(window: Floats) -> list[LoggedRow]:
    return [
        LoggedRow(id=i, event_time=i * ROW_S, inputs=dict(zip(COLUMNS, row, strict=True)), outputs={})
        for i, row in enumerate(np.asarray(window).tolist())
    ]


if __name__ == "__main__":
    contest(make, name="Perennial", version="")
