"""From JSON rows to the matrix that detectors see, and back to the features' names. Pure.

A number is a column; a category is one 0/1 column per value, so that its Kolmogorov-Smirnov distance is the change of
that value's share; missing values are a 0/1 column of their own, hence tested apart and in the same unit.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from perennial_bundle.rows import Values
from perennial_bundle.schema import Column, Schema

__all__ = ["Encoder", "build_column_encoder", "build_encoder"]

Floats = npt.NDArray[np.float64]
MAX_CATEGORIES = 20
# Squares of larger numbers would be infinite, and so would whatever is summed with them.
LARGEST_NUMBER = 1e100
# Of a number's columns, and of any feature's in a compact matrix: its value, and whether that is missing.
PARTS = 2


@runtime_checkable
class Packed(Protocol):
    """Numbers and None in less memory than a list."""

    def to_floats(self) -> Floats:
        """Return a copy as float64 (n,), NaN for None."""
        ...


@dataclass(frozen=True)
class _Feature:
    name: str
    is_category: bool
    categories: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many columns it has."""
        return len(self.categories) + 2 if self.is_category else PARTS

    def encode(self, values: Values) -> list[Floats]:
        if not self.is_category:
            numbers = _read_numbers(values)
            # Infinity is no measurement: it counts as missing, which is tested too.
            numbers[~np.isfinite(numbers)] = np.nan
            return [np.clip(numbers, -LARGEST_NUMBER, LARGEST_NUMBER), np.isnan(numbers).astype(np.float64)]
        missing = np.fromiter((value is None for value in values), dtype=np.float64, count=len(values))
        texts = np.array(["" if value is None else str(value) for value in values], dtype=object)
        known = missing == 0
        shares = [((texts == category) & known).astype(np.float64) for category in self.categories]
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
    fill: Floats

    @property
    def owner(self) -> tuple[int, ...]:
        """Which feature each column belongs to."""
        return tuple(i for i, feature in enumerate(self.features) for _ in range(feature.width))

    @property
    def compact_is_category(self) -> tuple[bool, ...]:
        """Which columns of a compact matrix hold codes."""
        return tuple(flag for feature in self.features for flag in (feature.is_category, False))

    @property
    def names(self) -> tuple[str, ...]:
        """The features' names."""
        return tuple(feature.name for feature in self.features)

    @property
    def takes_matrix(self) -> bool:
        """Whether `encode_matrix` may be called: no feature is a category."""
        return not any(feature.is_category for feature in self.features)

    def encode(self, columns: Mapping[str, Values]) -> Floats:
        """Encode columns of equal length: float64 (rows, d), NaN where a number is missing."""
        parts = [part for feature in self.features for part in feature.encode(columns[feature.name])]
        return np.column_stack(parts)

    def encode_matrix(self, values: npt.NDArray[Any]) -> Floats:
        """Encode numbers (rows, features) as `encode` does by columns, at once and without a step per feature."""
        numbers = values.astype(np.float64)
        numbers[~np.isfinite(numbers)] = np.nan
        encoded = np.empty((len(numbers), PARTS * len(self.features)))
        encoded[:, 0::PARTS] = np.clip(numbers, -LARGEST_NUMBER, LARGEST_NUMBER)
        encoded[:, 1::PARTS] = np.isnan(numbers)
        return encoded

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> Floats:
        """Encode rows read back from the log."""
        return self.encode({name: [row.get(name) for row in rows] for name in self.names})

    def impute(self, matrix: Floats) -> Floats:
        """Put the reference's median where a number is missing."""
        return np.where(np.isnan(matrix), self.fill, matrix)

    def compact(self, matrix: Floats) -> Floats:
        """Make two columns of each feature: its number or category's code (NaN if missing), and whether it's missing."""
        parts, start = [], 0
        for feature in self.features:
            part = matrix[:, start : start + feature.width]
            missing = part[:, -1]
            value = np.argmax(part[:, :-1], axis=1).astype(np.float64) if feature.is_category else part[:, 0]
            parts += [np.where(missing > 0, np.nan, value), missing]
            start += feature.width
        return np.column_stack(parts)

    def choose(self, names: Collection[str]) -> tuple["Encoder", npt.NDArray[np.bool_]]:
        """Keep some features: an encoder for them, and which columns of this one's matrices are its own, bool (d,)."""
        kept = np.array([feature.name in names for feature in self.features], dtype=np.bool_)
        columns = kept[list(self.owner)]
        features = tuple(feature for feature in self.features if feature.name in names)
        return Encoder(features, self.fill[columns]), columns

    def by_feature(self, statistics: Floats, *, compact: bool = False) -> Floats:
        """Largest statistic of each feature's columns.

        Parameters
        ----------
        statistics
            float64 (..., d).
        compact
            Whether they are those of a compact matrix.

        Returns
        -------
        array
            float64 (..., features); NaN where nothing of a feature was tested.
        """
        result = np.full((*statistics.shape[:-1], len(self.features)), np.nan)
        owner = np.repeat(np.arange(len(self.features)), PARTS) if compact else np.array(self.owner)
        for column, feature in enumerate(owner):
            result[..., feature] = np.fmax(result[..., feature], statistics[..., column])
        return result


def build_encoder(
    schema: Schema, reference: Mapping[str, Sequence[Any]], exclude: Collection[str] = ()
) -> Encoder | None:
    """Choose the columns: all features that the reference holds and the log keeps. None if there are none."""
    return build_column_encoder(schema.features, reference, exclude)


def build_column_encoder(
    columns: Sequence[Column], reference: Mapping[str, Sequence[Any]], exclude: Collection[str] = ()
) -> Encoder | None:
    """Do so with any columns of a schema, of inputs or outputs."""
    kept = [c for c in columns if c.name in reference and c.name not in exclude]
    if not kept:
        return None
    features = tuple(_build_feature(column, reference[column.name]) for column in kept)
    draft = Encoder(features, np.empty(0))
    matrix = draft.encode(reference)
    known = ~np.isnan(matrix).all(axis=0)
    fill = np.zeros(matrix.shape[1])
    fill[known] = np.nanmedian(matrix[:, known], axis=0)
    return Encoder(features, fill)


def _read_numbers(values: Values) -> Floats:
    if isinstance(values, Packed):
        return values.to_floats()
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return values.astype(np.float64)
    # Before its schema is known a revision's rows are logged as they come: a text is no measurement either.
    return np.array(
        [float(value) if isinstance(value, int | float) else np.nan for value in values], np.float64
    )


def _build_feature(column: Column, values: Sequence[Any]) -> _Feature:
    if column.datatype != "BYTES":
        return _Feature(column.name, is_category=False, categories=())
    counts = Counter(str(value) for value in values if value is not None)
    # Ties are broken by name, so that the same reference always gives the same columns.
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    return _Feature(column.name, is_category=True, categories=tuple(ranked[:MAX_CATEGORIES]))
