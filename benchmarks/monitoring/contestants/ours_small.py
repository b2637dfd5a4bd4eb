"""Perennial's default with 5,000 rows of reference: five blocks of a window, too few to calibrate."""

from benchmarks.monitoring.contest import Judge, contest
from benchmarks.monitoring.contestants.ours import build_judge
from benchmarks.monitoring.streams import Floats

ROWS = 5_000


def make(reference: Floats) -> Judge:
    """Fit on the latest rows."""
    return build_judge(reference[-ROWS:])


if __name__ == "__main__":
    contest(make, name="Perennial KS, 5,000 rows of reference", version="")
