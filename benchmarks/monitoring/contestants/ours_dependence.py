"""Perennial's random forest, which sees what features do together; asked for the same rate as the default."""

from perennial_api.modeldeployment.monitoring import Drift, DriftDetector

from benchmarks.monitoring.contest import Judge, contest
from benchmarks.monitoring.contestants.ours import build_judge
from benchmarks.monitoring.streams import Floats


def make(reference: Floats) -> Judge:
    """Fit."""
    return build_judge(reference, Drift(detector=DriftDetector.DEPENDENCE))


if __name__ == "__main__":
    contest(make, name="Perennial Dependence", version="")
