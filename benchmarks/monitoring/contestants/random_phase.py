"""Alarms in every twentieth window, from a random one on: what anybody has to beat."""

import numpy as np

from benchmarks.monitoring.contest import Judge, contest
from benchmarks.monitoring.streams import Floats

PERIOD = 20


def make(reference: Floats) -> Judge:
    """Choose the phase."""
    rng = np.random.default_rng(abs(int(1e6 * reference[0, 0])))
    at = int(rng.integers(PERIOD))

    def judge(window: Floats) -> tuple[float, bool]:  # noqa: ARG001
        nonlocal at
        at += 1
        return float(rng.random()), at % PERIOD == 0

    return judge


if __name__ == "__main__":
    contest(make, name="random phase", version="-")
