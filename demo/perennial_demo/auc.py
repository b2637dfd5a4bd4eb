"""AUC of the model being served beside that of the model never retrained, on the same flights. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

Floats = npt.NDArray[np.float64]
MIN_ROWS = 500


@dataclass(frozen=True)
class AucPair:
    """Both models' AUC on the same rows."""

    served: float
    never_retrained: float
    rows: int

    @property
    def gain(self) -> float:
        """By how much the served model is better."""
        return self.served - self.never_retrained


class AucTrack:
    """What was predicted for each replayed row, next to what the first model would have said.

    Parameters
    ----------
    truth
        int64 (n,).
    time_s
        float64 (n,), ascending, epoch seconds.
    never_retrained
        float64 (n,): probabilities by the first model.
    """

    def __init__(self, truth: npt.NDArray[np.int64], time_s: Floats, never_retrained: Floats) -> None:
        self.truth = truth
        self.time_s = time_s
        self.never_retrained = never_retrained
        self.served = np.full(truth.shape, np.nan)
        self.revision = np.full(truth.shape, "", dtype=object)

    def record(self, first: int, last: int, revision: str, probabilities: list[float]) -> None:
        """Keep what a revision answered for rows `first` to `last` (exclusive)."""
        self.served[first:last] = probabilities
        self.revision[first:last] = revision

    def between(
        self, from_s: float, until_s: float, revisions: frozenset[str] | None = None
    ) -> AucPair | None:
        """Compare on answered rows with event time in [from_s, until_s), of some revisions or of all.

        Returns
        -------
        AucPair or None
            None where fewer than 500 rows or a single class are there.
        """
        low, high = np.searchsorted(self.time_s, [from_s, until_s])
        rows = np.flatnonzero(~np.isnan(self.served[low:high])) + low
        if revisions is not None:
            rows = rows[np.isin(self.revision[rows], sorted(revisions))]
        truth = self.truth[rows]
        if rows.size < MIN_ROWS or np.unique(truth).size < 2:  # noqa: PLR2004
            return None
        return AucPair(
            served=float(roc_auc_score(truth, self.served[rows])),
            never_retrained=float(roc_auc_score(truth, self.never_retrained[rows])),
            rows=int(rows.size),
        )
