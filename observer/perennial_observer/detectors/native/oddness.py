"""Single odd rows by Mahalanobis distance, and by distance to the nearest neighbours."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from perennial_bundle.oddness import Cut, Mahalanobis, Neighbours

from perennial_observer.detectors.base import Floats, Result
from perennial_observer.detectors.native.shapes import require_known, require_shape

__all__ = ["OddRows"]


@dataclass
class OddRows:
    """Implements :class:`~perennial_observer.detectors.base.RowDetector` by a `Cut`, whose parameters it has; no NaN."""

    make_scorer: type[Mahalanobis] | type[Neighbours]
    contamination: float
    _columns: int = 0
    _cut: Cut | None = None

    def fit(self, reference: Floats) -> None:
        """Fit anew: a copy made before shares nothing with what is learnt."""
        require_known(reference)
        cut = Cut(self.make_scorer, self.contamination)
        cut.fit(reference)
        self._columns, self._cut = reference.shape[1], cut

    def score(self, window: Floats) -> Result:
        """Share of the window's rows beyond the cut."""
        return Result(statistic=float(np.mean(self.flag(window))), per_column=np.empty(0), n=len(window))

    def rate_rows(self, window: Floats) -> Floats:
        """Tell by how much each of the window's rows is beyond the cut, float64 (n,)."""
        assert self._cut is not None, "fit comes first"
        require_shape(window, self._columns)
        require_known(window)
        return self._cut.rate_rows(window)

    def flag(self, window: Floats) -> npt.NDArray[np.bool_]:
        """Tell which of the window's rows are beyond the cut, bool (n,)."""
        return np.asarray(self.rate_rows(window) > 0.0)
