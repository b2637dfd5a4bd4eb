"""River's ADWIN as it comes, one for each column, fed row by row; it goes on learning."""

from importlib.metadata import version

from river.drift import ADWIN

from benchmarks.monitoring.contest import Judge, contest
from benchmarks.monitoring.streams import Floats


def make(reference: Floats) -> Judge:
    """Feed the reference."""
    detectors = [ADWIN() for _ in reference.T]
    for detector, column in zip(detectors, reference.T, strict=True):
        for value in column:
            detector.update(value)

    def judge(window: Floats) -> tuple[float, bool]:
        found = 0
        for detector, column in zip(detectors, window.T, strict=True):
            for value in column:
                detector.update(value)
                found += detector.drift_detected
        return float(found), found > 0

    return judge


if __name__ == "__main__":
    contest(make, name="River ADWIN", version=version("river"))
