"""What an explanation says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

Method = Literal["Linear", "Tree", "Permutation"]
Explained = Literal["predict", "probability", "margin", "vote"]


@dataclass(frozen=True)
class Explanation:
    """How much each feature moved the answer to each of n rows away from the answer to typical rows.

    ``base_value + contributions.sum(axis=1) == value``, row by row.

    Parameters
    ----------
    contributions
        float64 array (n, n_features), in the order of the schema's features.
    base_value
        float64 array (n,): the mean answer to the reference sample's rows (Tree: to the rows of the training).
    value
        float64 array (n,): the answer that is explained.
    labels
        Of a classifier: array (n,) of the class that each row's answer is about; the second of two, else the one that
        the row is predicted to be.
    method
        Linear and Tree are exact; Permutation is sampled.
    explained
        What `value` is: the number that the model predicts; the class's probability; its margin, which a linear or
        boosted model adds up before it becomes a probability; or its vote, 1 or 0, where the model has no
        probabilities.
    """

    contributions: npt.NDArray[np.float64]
    base_value: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]
    labels: npt.NDArray[Any] | None
    method: Method
    explained: Explained


class TooManyRows(ValueError):
    """Explaining so many rows at once would cost more than is allowed; the message says how many would do."""


class Explainer(Protocol):
    """Explains the answers of one model."""

    def explain(self, frame: pd.DataFrame, *, deadline_s: float | None = None) -> Explanation:
        """Explain rows that `Schema.check` built.

        Parameters
        ----------
        deadline_s
            When to give up, on `time.monotonic`; None for never.

        Raises
        ------
        TooManyRows
            Send fewer at once.
        TimeoutError
            The deadline passed.
        """
        ...


def choose(
    contributions: npt.NDArray[np.float64],
    base: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    *,
    classes: Sequence[Any] | None,
    method: Method,
    explained: Explained,
) -> Explanation:
    """Keep what is about one class in each row.

    Parameters
    ----------
    contributions
        (n, n_features, k), where k is the number of classes, or 1 for a number and for the second of two classes.
    base, values
        (n, k).
    """
    rows = np.arange(len(values))
    index = values.argmax(axis=1)
    labels = None
    if classes is not None:
        of = index if values.shape[1] > 1 else np.ones(len(values), dtype=int)
        labels = np.array(classes, dtype=object)[of]
    return Explanation(
        contributions=np.ascontiguousarray(contributions[rows, :, index]),
        base_value=base[rows, index],
        value=values[rows, index],
        labels=labels,
        method=method,
        explained=explained,
    )
