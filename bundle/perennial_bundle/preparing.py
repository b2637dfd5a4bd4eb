"""What an author hands over, checked and brought into order before a bundle is written from it."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from perennial_bundle.checking import Checker
from perennial_bundle.columns import event_time_seconds
from perennial_bundle.errors import InvalidBundle, InvalidInput
from perennial_bundle.inference import infer_datatype, infer_inputs, join_policies
from perennial_bundle.policies import Policies, check_names
from perennial_bundle.reference import choose_rows, plain_values
from perennial_bundle.schema import Column


@dataclass(frozen=True)
class Prepared:
    """The rows that become the reference sample, in time order, and what is known of their columns.

    Parameters
    ----------
    frame
        The author's rows.
    features
        Columns that reach the model, in its order.
    inputs
        Every column's description.
    columns
        The rows' values as a request would carry them.
    labels
        The truth of each row, or None.
    policies
        What the author has decided about columns.
    """

    frame: pd.DataFrame
    features: list[str]
    inputs: tuple[Column, ...]
    columns: dict[str, list[Any]]
    labels: list[Any] | None
    policies: Policies

    def as_given(self) -> pd.DataFrame:
        """Return the rows as a model gets them: in the schema's dtypes, and imputed where a policy says so.

        Raises
        ------
        InvalidBundle
            A policy refuses one of the rows.
        """
        try:
            return Checker(self.inputs).check_columns(self.columns).frame
        except InvalidInput as error:
            raise InvalidBundle(f"X can't be described by a schema: {error}") from error


def prepare(
    frame: pd.DataFrame,
    *,
    fitted_on: Collection[str] | None,
    y: Any | None,
    event_time: str | None,
    passthrough: Collection[str],
    enforce_ranges: Collection[str],
    reject_unknown: Collection[str],
    policies: Policies | None = None,
) -> Prepared:
    """Check the author's rows, choose the reference sample, and read the inputs' description off all rows.

    Parameters
    ----------
    fitted_on
        The features' names as the model knows them, in its order; None if it knows none.

    Raises
    ------
    InvalidBundle
        Saying what to change.
    """
    features = _feature_names(fitted_on, frame, event_time, passthrough)
    _check_names(frame, enforce_ranges, reject_unknown)
    check_names(policies or {}, frame.columns)
    joined = join_policies(policies or {}, enforce_ranges=enforce_ranges, reject_unknown=reject_unknown)
    labels = _check_labels(frame, y)
    frame, labels = _in_time_order(frame, labels, event_time)
    inputs = infer_inputs(
        frame,
        features=features,
        event_time=event_time,
        passthrough=passthrough,
        policies=joined,
    )
    rows = choose_rows(len(frame))
    frame = frame.iloc[rows]
    columns = {column.name: plain_values(column, frame[column.name]) for column in inputs}
    truth = None if labels is None else labels[rows].tolist()
    return Prepared(frame, features, inputs, columns, truth, joined)


def _feature_names(
    fitted_on: Collection[str] | None,
    frame: pd.DataFrame,
    event_time: str | None,
    passthrough: Collection[str],
) -> list[str]:
    if not isinstance(frame, pd.DataFrame):
        raise InvalidBundle(
            f"X is a {type(frame).__name__}; give a pandas DataFrame, since columns need names"
        )
    if frame.empty:
        raise InvalidBundle("X has no rows or no columns")
    if not all(isinstance(name, str) for name in frame.columns) or not frame.columns.is_unique:
        raise InvalidBundle("X needs column names that are strings, each once")
    _check_names(frame, [event_time] if event_time is not None else [], passthrough)
    others = {event_time, *passthrough}
    features = [name for name in frame.columns if name not in others]
    if fitted_on is None:
        return features
    fitted = [str(name) for name in fitted_on]
    if missing := [n for n in fitted if n not in features]:
        raise InvalidBundle(f"X lacks the columns {missing} that the model was fitted on")
    if extra := [n for n in features if n not in fitted]:
        raise InvalidBundle(f"the model wasn't fitted on {extra}; drop them, or list them in passthrough")
    return fitted


def _check_names(frame: pd.DataFrame, *groups: Collection[str]) -> None:
    for group in groups:
        if unknown := [name for name in group if name not in frame.columns]:
            raise InvalidBundle(f"X has no column {unknown[0]!r}")


def check_metadata(metadata: Mapping[str, Any] | None) -> None:
    """Refuse metadata that the manifest can't hold.

    Raises
    ------
    InvalidBundle
        It isn't JSON.
    """
    try:
        json.dumps(dict(metadata or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidBundle(f"metadata can't be JSON: {error}") from error


def _check_labels(frame: pd.DataFrame, y: Any | None) -> Any | None:
    if y is None:
        return None
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:  # noqa: PLR2004
        labels = labels[:, 0]
    if labels.shape != (len(frame),):
        raise InvalidBundle(f"y has shape {labels.shape}; X has {len(frame)} rows")
    return labels


def _in_time_order(
    frame: pd.DataFrame, labels: Any | None, event_time: str | None
) -> tuple[pd.DataFrame, Any | None]:
    if event_time is None:
        return frame, labels
    times = frame[event_time]
    if bool(times.isna().any()):
        raise InvalidBundle(f"the event time {event_time!r} is missing in some rows")
    try:
        column = Column(name=event_time, datatype=infer_datatype(times), role="EventTime")
        seconds = event_time_seconds(plain_values(column, times))
    except (ValueError, TypeError) as error:
        raise InvalidBundle(
            f"the event time {event_time!r} is neither datetimes, ISO 8601 strings nor seconds: {error}"
        ) from error
    order = np.argsort(seconds, kind="stable")
    return frame.iloc[order], None if labels is None else labels[order]
