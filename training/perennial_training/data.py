"""The rows of a run: read from Parquet, typed by the champion's schema, cut by time, weighted by age."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from perennial_bundle import Bundle, InvalidInput, Schema, event_time_seconds

from perennial_training.errors import InvalidData
from perennial_training.labels import convert_labels
from perennial_training.policies import as_sent
from perennial_training.split import Split

EVENT_TIME = "event_time"
LABEL = "label"


@dataclass(frozen=True)
class Rows:
    """Labelled rows in time order.

    Attributes
    ----------
    frame : DataFrame (n, all input columns)
        Dtypes of the champion's schema; values as they were sent, before anything is imputed.
    labels : array (n,)
        Of the classes' dtype, or float64.
    event_time : float64 array (n,)
        Epoch seconds, ascending.
    """

    frame: pd.DataFrame
    labels: npt.NDArray[Any]
    event_time: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.event_time)

    def where(self, mask: npt.NDArray[np.bool_]) -> "Rows":
        """Rows for which ``mask`` (n,) holds."""
        return Rows(self.frame.loc[mask].reset_index(drop=True), self.labels[mask], self.event_time[mask])


@dataclass(frozen=True)
class TrainingData:
    """What a training function gets.

    Attributes
    ----------
    x : DataFrame (n, n_features)
        Features only, in the champion's order and dtypes, in time order; imputed where the champion imputes.
    y : array (n,)
        Labels.
    sample_weight : float64 array (n,)
        Inverse-age weights of mean 1.
    event_time : float64 array (n,)
        Epoch seconds, ascending.
    champion : Bundle
        The model in service; ``champion.model`` is its fitted pipeline.
    seed : int
        Derived from the run's name: the same run gives the same candidate.
    """

    x: pd.DataFrame
    y: npt.NDArray[Any]
    sample_weight: npt.NDArray[np.float64]
    event_time: npt.NDArray[np.float64]
    champion: Bundle
    seed: int


def read_rows(parquet: bytes, champion: Bundle, what: str) -> Rows:
    """Read labelled rows and bring them into the champion's dtypes and time order.

    Parameters
    ----------
    parquet : bytes
        Columns ``label``, ``event_time`` (float64 seconds; may be missing where the schema has an EventTime) and
        the inputs.
    champion : Bundle
        Whose schema says which columns and dtypes.
    what : str
        What the file is, for messages.

    Raises
    ------
    InvalidData
        It isn't Parquet, or a column is missing or of a wrong type.
    """
    try:
        table = pq.read_table(io.BytesIO(parquet))
    except (pa.ArrowException, OSError) as error:
        raise InvalidData(f"the {what} isn't a Parquet file: {error}") from error
    if LABEL not in table.column_names:
        raise InvalidData(f"the {what} has no column {LABEL!r}")
    table = table.filter(table.column(LABEL).is_valid())
    schema = champion.schema
    event_time = _event_time(table, schema, what)
    labels = convert_labels(
        table.column(LABEL).to_pylist(), champion.manifest.task, champion.manifest.classes
    )
    columns = {
        c.name: table.column(c.name).to_pylist() for c in schema.inputs if c.name in table.column_names
    }
    frame = _frame(columns, schema, what)
    order = np.argsort(event_time, kind="stable")
    return Rows(frame.iloc[order].reset_index(drop=True), labels[order], event_time[order])


def join_rows(log: Rows, base: Rows | None, split: Split) -> Rows:
    """Put the base dataset's rows before the logged ones, those of the training slice only.

    The base never tests: the test slice is what the deployment has really seen.
    """
    if base is None:
        return log
    base = base.where(split.train_mask(base.event_time))
    frame = pd.concat([base.frame, log.frame], ignore_index=True)
    labels = np.concatenate([base.labels, log.labels])
    event_time = np.concatenate([base.event_time, log.event_time])
    order = np.argsort(event_time, kind="stable")
    return Rows(frame.iloc[order].reset_index(drop=True), labels[order], event_time[order])


def _event_time(table: pa.Table, schema: Schema, what: str) -> npt.NDArray[np.float64]:
    if EVENT_TIME in table.column_names:
        return np.asarray(table.column(EVENT_TIME).to_numpy(), dtype=np.float64)
    if schema.event_time is None or schema.event_time.name not in table.column_names:
        raise InvalidData(f"the {what} has no column {EVENT_TIME!r}")
    return event_time_seconds(table.column(schema.event_time.name).to_pylist())


def _frame(columns: Mapping[str, Sequence[Any]], schema: Schema, what: str) -> pd.DataFrame:
    if not any(len(values) for values in columns.values()):
        dtypes = {"INT64": "int64", "FP32": "float32", "FP64": "float64", "BOOL": "bool", "BYTES": "object"}
        return pd.DataFrame({c.name: pd.Series(dtype=dtypes[c.datatype]) for c in schema.inputs})
    try:
        return as_sent(schema).validate(columns)
    except InvalidInput as error:
        hint = "; is it in logger.exclude?" if error.reason == "MissingColumn" else ""
        raise InvalidData(f"the {what} doesn't fit the champion's schema: {error}{hint}") from error
