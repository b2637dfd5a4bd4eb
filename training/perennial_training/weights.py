"""Weights that make old rows count less, in event time.

A model of a changing world should listen to the recent past without forgetting the distant one. Rows are weighted by

    w(age) = 1 / (1 + age / tau)

the hyperbolic ("inverse-age") member of the time-decay family that Hentschel, Haas and Tian study for online model
management (*Temporally-Biased Sampling for Online Model Management*, EDBT 2018, arXiv:1801.09709). Compared with an
exponential of the same half-life it keeps a long tail, so that what comes back (a season, a holiday) is not lost.

Weighting costs information: n weighted rows are worth only

    ESS = (sum w)^2 / sum w^2

equally weighted ones (Kish, *Survey Sampling*, 1965, section 11.7). A tau that is too small for the data leaves so few
effective rows that the model fits noise, so tau is enlarged until ESS reaches a floor.

Worked example: ages 0, 30 and 90 days with tau = 30 days give raw weights 1, 1/2 and 1/4; their mean is 7/12, so the
normalised weights are 12/7, 6/7 and 3/7, and ESS = (7/4)^2 / (21/16) = 7/3.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_MAX_DOUBLINGS = 60
_BISECTIONS = 40


@dataclass(frozen=True)
class AgeWeights:
    """Weights of the training rows and what they cost.

    Attributes
    ----------
    weights : float64 array (n,)
        Normalised to mean 1, so that an estimator's regularisation keeps its meaning.
    tau_s : float
        The tau used, seconds: the one asked for, or larger. ``inf`` means equal weights.
    effective_samples : float
        Kish's effective sample size of ``weights``, between 1 and n.
    """

    weights: npt.NDArray[np.float64]
    tau_s: float
    effective_samples: float


def effective_sample_size(weights: npt.NDArray[np.float64]) -> float:
    """Kish's effective sample size: how many equally weighted rows these weighted ones are worth.

    Parameters
    ----------
    weights : float64 array (n,)
        Non-negative, at least one positive.

    Returns
    -------
    float
        Between 1 and n; n exactly when all weights are equal.
    """
    return float(weights.sum() ** 2 / np.square(weights).sum())


def inverse_age_weights(
    event_time: npt.NDArray[np.float64], *, now_s: float, tau_s: float, min_effective_samples: float
) -> AgeWeights | None:
    """Weight rows by inverse age, with tau enlarged until enough effective rows remain.

    ESS grows with tau: every ratio of two weights, (tau + age_j) / (tau + age_i), moves monotonically to 1. The
    smallest sufficient tau is therefore found by doubling and bisection.

    Parameters
    ----------
    event_time : float64 array (n,)
        When each row happened, epoch seconds, n >= 1.
    now_s : float
        The moment of age zero, epoch seconds; later rows count as age zero.
    tau_s : float
        Age at which a row counts half, seconds, > 0.
    min_effective_samples : float
        The floor of the effective sample size, rows.

    Returns
    -------
    AgeWeights or None
        None when n rows cannot give that many effective ones under any weights.
    """
    if tau_s <= 0:
        raise ValueError(f"tau_s must be positive, got {tau_s}")
    if min_effective_samples > event_time.size or event_time.size == 0:
        return None
    ages = np.maximum(now_s - event_time, 0.0)
    tau_s = _sufficient_tau(ages, tau_s, min_effective_samples)
    raw = _hyperbola(ages, tau_s)
    return AgeWeights(raw / raw.mean(), tau_s, effective_sample_size(raw))


def _hyperbola(ages_s: npt.NDArray[np.float64], tau_s: float) -> npt.NDArray[np.float64]:
    return 1.0 / (1.0 + ages_s / tau_s)


def _sufficient_tau(ages_s: npt.NDArray[np.float64], tau_s: float, floor: float) -> float:
    """Return the smallest tau, at least ``tau_s``, whose effective sample size reaches ``floor``."""

    def enough(tau: float) -> bool:
        return effective_sample_size(_hyperbola(ages_s, tau)) >= floor

    if enough(tau_s):
        return tau_s
    low = high = tau_s
    for _ in range(_MAX_DOUBLINGS):
        low, high = high, high * 2
        if enough(high):
            break
    else:
        # A floor equal to n is reached only by equal weights, whatever tau's size.
        return math.inf
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
