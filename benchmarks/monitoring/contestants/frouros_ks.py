"""Frouros' KSTest column by column, an alarm where any p-value is below 0.01: it knows no correction."""

from importlib.metadata import version

import numpy as np
from frouros.detectors.data_drift import KSTest

from benchmarks.monitoring.contest import Judge, contest
from benchmarks.monitoring.streams import Floats

ALPHA = 0.01


def make(reference: Floats) -> Judge:
    """Fit a test for each column."""
    tests = []
    for column in reference.T:
        test = KSTest()
        test.fit(X=np.ascontiguousarray(column))
        tests.append(test)

    def judge(window: Floats) -> tuple[float, bool]:
        results = [test.compare(X=np.ascontiguousarray(column))[0] for test, column in zip(tests, window.T)]  # noqa: B905
        return max(float(r.statistic) for r in results), any(r.p_value < ALPHA for r in results)

    return judge


if __name__ == "__main__":
    contest(make, name="Frouros KSTest", version=version("frouros"))
