"""Contributions of any model, by putting features of the row into typical rows one after the other, in random orders.

Each order is gone through forwards and backwards; what a feature changes when it comes in is averaged over the orders.
Mitchell, Cooper, Frank and Holmes: Sampling permutations for Shapley value estimation, JMLR 23 (2022). A cell is known
by a code, not by its value, so that strings, categories and missing values need no special treatment.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from perennial_bundle.explaining.result import Explained, Explanation, TooManyRows, choose

BACKGROUND_ROWS = 32
MAX_ORDERS = 10
# Rows that the model may be asked about for one explanation of any number of rows, and at once.
MAX_MODEL_ROWS = 200_000
CHUNK_ROWS = 4096


class PermutationExplainer:
    """Asks the whole model about mixed rows.

    Parameters
    ----------
    answer
        The model: features to float64 (n, k).
    background
        Features of typical rows, of which at most 32 spread evenly are used.
    seed
        The same rows get the same explanation.
    """

    def __init__(
        self,
        answer: Callable[[pd.DataFrame], npt.NDArray[np.float64]],
        background: pd.DataFrame,
        classes: Sequence[Any] | None,
        explained: Explained,
        *,
        max_model_rows: int = MAX_MODEL_ROWS,
        seed: int = 0,
    ) -> None:
        chosen = np.unique(np.linspace(0, len(background) - 1, BACKGROUND_ROWS).astype(int))
        self._answer = answer
        self._background = background.iloc[chosen]
        self._classes = classes
        self._explained: Explained = explained
        self._max_model_rows = max_model_rows
        self._seed = seed

    def explain(self, frame: pd.DataFrame, *, deadline_s: float | None = None) -> Explanation:
        """Explain rows; see `Explainer.explain`."""
        n_features = frame.shape[1]
        masks, orders = self._draw(len(frame), n_features)
        cells = _Cells(self._background, frame)
        values = np.stack(
            [self._ask(cells, row, masks, deadline_s) for row in range(len(frame))]
        )  # (n, coalitions, k)
        contributions = np.zeros((len(frame), n_features, values.shape[2]))
        at = 1
        for order in orders:
            # The coalitions of an order begin behind that of nobody and end before that of all.
            inner = values[:, at : at + n_features - 1]
            chain = np.concatenate([values[:, :1], inner, values[:, -1:]], axis=1)
            contributions[:, order] += np.diff(chain, axis=1)
            at += n_features - 1
        contributions /= len(orders)
        return choose(
            contributions,
            values[:, 0],
            values[:, -1],
            classes=self._classes,
            method="Permutation",
            explained=self._explained,
        )

    def _draw(
        self, n_rows: int, n_features: int
    ) -> tuple[npt.NDArray[np.bool_], list[npt.NDArray[np.int64]]]:
        """Draw orders, as many as the bound allows, and list all coalitions: nobody, those of the orders, all."""
        per_order = 2 * n_rows * max(n_features - 1, 1) * len(self._background)
        n_orders = min(MAX_ORDERS, self._max_model_rows // per_order)
        if n_orders == 0:
            most = self._max_model_rows * n_rows // per_order
            raise TooManyRows(
                f"{n_rows} rows of {n_features} features are too many to explain at once; send at most {most}"
                if most
                else f"{n_features} features are too many to be explained for this kind of model"
            )
        rng = np.random.default_rng(self._seed)
        orders = [order for _ in range(n_orders) for order in _both_ways(rng.permutation(n_features))]
        masks = [np.zeros(n_features, dtype=bool)]
        for order in orders:
            mask = np.zeros(n_features, dtype=bool)
            for feature in order[:-1]:
                mask[feature] = True
                masks.append(mask.copy())
        masks.append(np.ones(n_features, dtype=bool))
        return np.array(masks), orders

    def _ask(
        self, cells: "_Cells", row: int, masks: npt.NDArray[np.bool_], deadline_s: float | None
    ) -> npt.NDArray[np.float64]:
        """Return the mean answer of each coalition: (coalitions, k)."""
        n_background = len(self._background)
        step = max(1, CHUNK_ROWS // n_background)
        means = []
        for start in range(0, len(masks), step):
            if deadline_s is not None and time.monotonic() > deadline_s:
                raise TimeoutError("the explanation took too long")
            some = masks[start : start + step]
            answers = self._answer(cells.mix(row, some))
            means.append(answers.reshape(len(some), n_background, -1).mean(axis=1))
        return np.concatenate(means)


def _both_ways(order: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    return [order, order[::-1]]


class _Cells:
    """The cells of the background and of the rows to explain, each known by a code."""

    def __init__(self, background: pd.DataFrame, frame: pd.DataFrame) -> None:
        self._columns = [pd.concat([background[n], frame[n]], ignore_index=True) for n in frame.columns]
        self._n_background = len(background)

    def mix(self, row: int, masks: npt.NDArray[np.bool_]) -> pd.DataFrame:
        """Build the rows of coalitions: the features of a mask are the row's, the others of each background row."""
        typical = np.arange(self._n_background)
        columns = {}
        for index, column in enumerate(self._columns):
            codes = np.where(masks[:, index, np.newaxis], self._n_background + row, typical)
            columns[column.name] = column.take(codes.ravel()).reset_index(drop=True)
        return pd.DataFrame(columns, copy=False)
