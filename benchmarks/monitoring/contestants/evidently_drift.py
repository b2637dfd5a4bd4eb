"""Evidently's data drift preset as it comes: drift where half of the columns have drifted."""

from importlib.metadata import version

import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset

from benchmarks.monitoring.contest import Judge, contest
from benchmarks.monitoring.streams import FEATURES, Floats

COLUMNS = [f"x{i}" for i in range(FEATURES)]
DRIFT_SHARE = 0.5  # the preset's default


def make(reference: Floats) -> Judge:
    """Keep the reference."""
    before = pd.DataFrame(reference, columns=COLUMNS)

    def judge(window: Floats) -> tuple[float, bool]:
        report = Report([DataDriftPreset()]).run(pd.DataFrame(window, columns=COLUMNS), before)
        (counted,) = (m for m in report.dict()["metrics"] if "DriftedColumnsCount" in str(m["metric_name"]))
        share = float(counted["value"]["share"])
        return share, share >= DRIFT_SHARE

    return judge


if __name__ == "__main__":
    contest(make, name="Evidently DataDriftPreset", version=version("evidently"))
