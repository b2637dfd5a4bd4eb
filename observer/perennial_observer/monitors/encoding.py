"""From JSON rows to the matrix that detectors see, and back to the features' names. Pure.

A number is a column; a category is one 0/1 column per value, so that its Kolmogorov-Smirnov distance is the change of
that value's share; missing values are a 0/1 column of their own, hence tested apart and in the same unit.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from perennial_bundle import Column, Schema

__all__ = ["Encoder", "build_encoder"]

Floats = npt.NDArray[np.float64]
MAX_CATEGORIES = 20


@dataclass(frozen=True)
class _Feature:
    name: str
    is_category: bool
    categories: tuple[str, ...]

    def encode(self, values: Sequence[Any]) -> list[Floats]:
        missing = np.fromiter((value is None for value in values), dtype=np.float64, count=len(values))
        if not self.is_category:
            numbers = [np.nan if value is None else float(value) for value in values]
            return [np.array(numbers, dtype=np.float64), missing]
        texts = np.array(["" if value is None else str(value) for value in values], dtype=object)
        shares = [(texts == category).astype(np.float64) for category in self.categories]
        other = 1.0 - missing - np.sum(shares, axis=0) if shares else 1.0 - missing
        return [*shares, np.maximum(other, 0.0), missing]


@dataclass(frozen=True)
class Encoder:
    """Turns rows into a matrix, always with the same columns.

    Parameters
    ----------
    fill
        float64 (d,): what stands for a missing number where a detector can't do without (the reference's median).
    """

    features: tuple[_Feature, ...]
    owner: tuple[int, ...]
    fill: Floats

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names."""
        return tuple(feature.name for feature in self.features)

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> Floats:
        """Encode columns of equal length: float64 (rows, d), NaN where a number is missing."""
        parts = [part for feature in self.features for part in feature.encode(columns[feature.name])]
        return np.column_stack(parts)

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> Floats:
        """Encode rows read back from the log."""
        return self.encode({name: [row.get(name) for row in rows] for name in self.names})

    def impute(self, matrix: Floats) -> Floats:
        """Put the reference's median where a number is missing."""
        return np.where(np.isnan(matrix), self.fill, matrix)

    def by_feature(self, statistics: Floats) -> Floats:
        """Largest statistic of each feature's columns.

        Parameters
        ----------
        statistics
            float64 (..., d).

        Returns
        -------
        array
            float64 (..., features); NaN where nothing of a feature was tested.
        """
        result = np.full((*statistics.shape[:-1], len(self.features)), np.nan)
        for column, feature in enumerate(self.owner):
            result[..., feature] = np.fmax(result[..., feature], statistics[..., column])
        return result


def build_encoder(
    schema: Schema, reference: Mapping[str, Sequence[Any]], exclude: Collection[str] = ()
) -> Encoder | None:
    """Choose the columns: all features that the reference holds and the log keeps. None if there are none."""
    kept = [c for c in schema.features if c.name in reference and c.name not in exclude]
    if not kept:
        return None
    features = tuple(_build_feature(column, reference[column.name]) for column in kept)
    owner: list[int] = []
    for i, feature in enumerate(features):
        owner += [i] * (len(feature.categories) + 2 if feature.is_category else 2)
    draft = Encoder(features, tuple(owner), np.zeros(len(owner)))
    matrix = draft.encode(reference)
    known = ~np.isnan(matrix).all(axis=0)
    fill = np.zeros(len(owner))
    fill[known] = np.nanmedian(matrix[:, known], axis=0)
    return Encoder(features, tuple(owner), fill)


def _build_feature(column: Column, values: Sequence[Any]) -> _Feature:
    if column.datatype != "BYTES":
        return _Feature(column.name, is_category=False, categories=())
    counts = Counter(str(value) for value in values if value is not None)
    # Ties are broken by name, so that the same reference always gives the same columns.
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    return _Feature(column.name, is_category=True, categories=tuple(ranked[:MAX_CATEGORIES]))
