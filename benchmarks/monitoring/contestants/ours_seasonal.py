"""Perennial's default with `seasonality: Daily`: each window beside the same hours of the reference's days."""

from perennial_api.modeldeployment.monitoring import Seasonality

from benchmarks.monitoring.contest import Judge, contest
from benchmarks.monitoring.contestants.ours import KS, build_judge
from benchmarks.monitoring.streams import Floats


def make(reference: Floats) -> Judge:
    """Fit."""
    return build_judge(reference, KS, Seasonality.DAILY)


if __name__ == "__main__":
    contest(make, name="Perennial KS, Daily", version="")
