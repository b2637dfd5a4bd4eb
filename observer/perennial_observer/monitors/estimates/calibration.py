"""From a model's probabilities to chances that hold, and how often an estimate asks what else might have come of it."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

__all__ = ["CALIBRATIONS", "DRAWS", "INTERVAL_PERCENT", "SEED", "SURE", "Curve", "fit_curve"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

# A probability of 0 or 1 would make the log loss of a single row infinite.
SURE = 1e-6
SEED = 0
# Other calibrations that other labelled rows of the same number might have given, and labels drawn from them.
CALIBRATIONS = 30
DRAWS = 300
INTERVAL_PERCENT = (2.5, 97.5)


@dataclass(frozen=True)
class Curve:
    """A calibration: straight lines from score to chance. Without any points the score is the chance."""

    scores: Floats = field(default_factory=lambda: np.array([0.0, 1.0]))
    chances: Floats = field(default_factory=lambda: np.array([0.0, 1.0]))

    def read(self, probability: Floats) -> Floats:
        """Return the chance of each score, float64 (n,)."""
        chance: Floats = np.clip(np.interp(probability, self.scores, self.chances), SURE, 1 - SURE)
        return chance


def fit_curve(probability: Floats, is_positive: Bools) -> Curve:
    """Learn how often scores, float64 (n,), are right, bool (n,): isotonic (Zadrozny and Elkan 2002)."""
    isotonic = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    isotonic.fit(probability, is_positive.astype(np.float64))
    return Curve(isotonic.X_thresholds_, isotonic.y_thresholds_)
