"""Metrics of more than two classes, of labels that came back or that were drawn. Pure."""

import numpy as np
import numpy.typing as npt

__all__ = ["count_pairs", "macro_f1", "mean_auc", "mean_log_loss", "mean_recall"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
# As scikit-learn has it: a class that was ruled out makes the loss large, and not infinite.
SMALLEST = float(np.finfo(np.float64).eps)


def count_pairs(labels: Codes, predicted: Codes, k: int) -> Codes:
    """Count rows by class and answer, int64 (k, k)."""
    counts: Codes = np.bincount(labels * k + predicted, minlength=k**2).reshape(k, k)
    return counts


def mean_recall(pairs: Codes) -> float:
    """Balanced accuracy: the mean recall of the classes that occur."""
    real = pairs.sum(axis=1)
    return float(np.mean(np.diag(pairs)[real > 0] / real[real > 0]))


def macro_f1(pairs: Codes) -> float:
    """Mean F1 of the classes that occur or are answered."""
    both = pairs.sum(axis=1) + pairs.sum(axis=0)
    return float(np.mean(2 * np.diag(pairs)[both > 0] / both[both > 0]))


def mean_auc(labels: Codes, ranks: Floats) -> float | None:
    """Area under the ROC curve of each class against all others, the mean over the classes that occur.

    By the sum of the ranks of a class's rows (Mann and Whitney 1947; Hand and Till 2001 for the mean).

    Parameters
    ----------
    labels
        int64 (n,): the place of each row's class among the k.
    ranks
        float64 (n, k): of the probabilities, column by column, from 1; of equal ones the mean.

    Returns
    -------
    float or None
        None where all rows are of one class.
    """
    n, k = ranks.shape
    is_of = labels[:, None] == np.arange(k)
    count = is_of.sum(axis=0)
    there = count > 0
    if there.sum() == 1:
        return None
    own, others = count[there], n - count[there]
    above = np.sum(ranks * is_of, axis=0)[there] - own * (own + 1) / 2
    return float(np.mean(above / (own * others)))


def mean_log_loss(labels: Codes, probabilities: Floats) -> float:
    """Mean negative logarithm of the probability, float64 (n, k), that each row's class, int64 (n,), was given."""
    given = probabilities[np.arange(len(labels)), labels]
    return float(-np.mean(np.log(np.clip(given, SMALLEST, 1.0))))
