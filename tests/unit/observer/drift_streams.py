"""Seeded streams, and monitors on them; shared by the tests of drift."""

import numpy as np
from perennial_api.durations import Duration
from perennial_api.modeldeployment.monitoring import (
    Alarm,
    Clear,
    Drift,
    Engine,
    MonitorSettings,
    Reference,
    Seasonality,
    Window,
)
from perennial_bundle import Schema
from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.monitors.drift.monitor import DriftMonitor
from perennial_observer.monitors.prepared import Prepared, prepare_reference
from perennial_observer.monitors.references.sources import Scope
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import DeploymentKey, LoggedRow

KEY = DeploymentKey("u", "shop", "wine")
# The native engine needs none; whoever calls it finds nobody there.
NO_SIDECAR = Sidecar("/nonexistent/d.sock", 1.0)
NATIVE_KS = Drift(engine=Engine.NATIVE)


def schema_of(names, outputs=("predict",)):
    return Schema.model_validate(
        {
            "inputs": [{"name": name, "datatype": "FP64"} for name in names],
            "outputs": [{"name": name, "datatype": "FP64"} for name in outputs],
        }
    )


def autocorrelated(random, n: int, phi: float = 0.0, width: int = 5) -> np.ndarray:
    """AR(1) columns with unit variance."""
    noise = random.normal(size=(n, width))
    values = np.empty((n, width))
    values[0] = noise[0]
    for i in range(1, n):
        values[i] = phi * values[i - 1] + np.sqrt(1 - phi**2) * noise[i]
    return values


def name_columns(values: np.ndarray) -> dict[str, list]:
    return {f"x{i}": [None if np.isnan(x) else float(x) for x in column] for i, column in enumerate(values.T)}


def stored(values, *, outputs=None, times=None, task="Regression", output_schema=("predict",)):
    columns = name_columns(values)
    return StoredReference(
        revision="wine-1",
        digest="d",
        bundle_digest="b",
        task=task,
        schema=schema_of(columns, output_schema),
        columns=columns,
        outputs=outputs or {},
        event_time=times,
    )


def prepare(reference: StoredReference, seasonality=Seasonality.NONE) -> Prepared:
    scope = Scope(KEY, "wine-1", reference=Reference(seasonality=seasonality))
    return prepare_reference(reference, scope, NO_SIDECAR)


def watch(values: np.ndarray, spec: Drift = NATIVE_KS) -> DriftMonitor:
    return prepare(stored(values)).drift(spec, of_outputs=False)


def logged(values: np.ndarray, *, start: float = 0.0, step_s: float = 60.0) -> list[LoggedRow]:
    columns = name_columns(values)
    return [
        LoggedRow(i, start + step_s * i, {name: column[i] for name, column in columns.items()}, {})
        for i in range(len(values))
    ]


def settings(size: int = 250, min_samples: int = 100, every: str = "30d") -> MonitorSettings:
    window = Window(size=size, max_age=Duration("7d"), min_samples=min_samples)
    return MonitorSettings(window, Duration(every), Alarm(), Clear())
