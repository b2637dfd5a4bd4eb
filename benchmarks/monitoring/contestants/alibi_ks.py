"""alibi-detect's KSDrift as it comes: Bonferroni over the features at 0.05."""

from alibi_detect import __version__
from alibi_detect.cd import KSDrift

from benchmarks.monitoring.contest import Judge, contest
from benchmarks.monitoring.streams import Floats


def make(reference: Floats) -> Judge:
    """Fit."""
    detector = KSDrift(reference)

    def judge(window: Floats) -> tuple[float, bool]:
        said = detector.predict(window)["data"]
        return float(said["distance"].max()), bool(said["is_drift"])

    return judge


if __name__ == "__main__":
    contest(make, name="alibi-detect KSDrift", version=__version__)
