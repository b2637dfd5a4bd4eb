"""How odd a request's rows are by the bundle's reference, told in its answer where `spec.server` asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perennial_bundle import Bundle, InvalidBundle

from perennial_server.settings import Settings

if TYPE_CHECKING:
    # What learns is imported only where somebody asks: it brings scikit-learn's neighbours and covariances along.
    from perennial_bundle.oddness import Floats, Rate

COUNT_HEADER = "x-perennial-outliers"
SCORES_HEADER = "x-perennial-outlier-scores"
# A header block of 8 KiB is a client's default.
MOST_SCORES = 100


def learn_outliers(bundle: Bundle | None, settings: Settings) -> Rate | None:
    """Learn the bundle's reference sample; None if nobody asks for scores.

    What isn't logged isn't looked at, so that the scores are those of an Outlier monitor with the same detector.

    Raises
    ------
    InvalidBundle
        There is no reference sample, or it is too small or too wide.
    """
    if settings.outlier_detector is None:
        return None
    if bundle is None:
        raise InvalidBundle(
            "a model in an image of its own has no reference sample to say what is odd by: remove server.outlierScores"
        )
    from perennial_bundle.oddness import Cut, Mahalanobis, Neighbours, learn_rows

    scorers: dict[str, type[Mahalanobis | Neighbours]] = {"Mahalanobis": Mahalanobis, "KNN": Neighbours}
    cut = Cut(scorers[settings.outlier_detector], settings.outlier_contamination)
    return learn_rows(bundle.schema, bundle.reference().sent, cut, settings.log_exclude)


def describe_outliers(scores: Floats | None) -> list[tuple[str, str]]:
    """Write headers of one answer: how many rows are odd, and each row's score if they are not too many.

    Examples
    --------
    >>> import numpy as np
    >>> describe_outliers(np.array([-1.25, 0.5]))
    [('x-perennial-outliers', '1'), ('x-perennial-outlier-scores', '-1.25,0.5')]
    """
    if scores is None:
        return []
    headers = [(COUNT_HEADER, str(int((scores > 0.0).sum())))]
    if len(scores) <= MOST_SCORES:
        headers.append((SCORES_HEADER, ",".join(f"{score:.4g}" for score in scores.tolist())))
    return headers
