"""What each type of metric counts, in words for messages."""

from dataclasses import dataclass

from perennial_api.modeldeployment.analysis import MetricType

__all__ = ["Words", "words_of"]


@dataclass(frozen=True, slots=True)
class Words:
    """What is counted, what was bad about some of it, and who says so."""

    counted: str
    bad: str
    told_by: str = "the gateway"


_WORDS = {
    MetricType.ERROR_RATE: Words("requests", "failed"),
    MetricType.SLOW_RATE: Words("requests", "took longer than latencyBudget"),
    MetricType.INVALID_RATE: Words("requests", "were refused for their content"),
    MetricType.OUTLIER_RATE: Words("predictions", "were outliers", "the observer"),
    MetricType.FEEDBACK: Words("labelled predictions", "were wrong", "the observer"),
}
_CLIENT_WORDS = _WORDS | {
    MetricType.ERROR_RATE: Words("clients", "met a failure"),
    MetricType.OUTLIER_RATE: Words("clients", "began with an outlier", "the observer"),
    MetricType.FEEDBACK: Words("labelled clients", "were first answered wrongly", "the observer"),
}


def words_of(kind: MetricType, *, by_client: bool) -> Words:
    """Return the words for a type that counts; where a client keeps its revision, clients are counted."""
    return (_CLIENT_WORDS if by_client else _WORDS)[kind]
