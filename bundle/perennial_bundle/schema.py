"""What goes into a model and what comes out of it, column by column.

The server checks requests with it, the observer reads event times and columns by it, training builds frames
with it; so all of them see the same values in the same dtypes.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from perennial_bundle.columns import build_series
from perennial_bundle.errors import InvalidInput
from perennial_bundle.rows import Checked, Rows

MAX_COLUMNS = 4096
MAX_CATEGORIES = 1000

Datatype = Literal["BOOL", "INT64", "FP32", "FP64", "BYTES"]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Category = Annotated[str, StringConstraints(max_length=256)]


class Column(BaseModel):
    """One input or output."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ColumnName = Field(description="Unique within its side of the schema.")
    datatype: Datatype = Field(description="Datatype of the Open Inference Protocol.")
    role: Literal["Feature", "EventTime", "Passthrough", "Output", "Member"] = Field(
        default="Feature",
        description=(
            "Only features reach the model. An EventTime is BYTES (ISO 8601; UTC if without an offset), or a "
            "number of seconds since 1970. A Passthrough is logged and may be left out of a request. A Member "
            "is what one member of an ensemble answers: always logged, answered only when it is asked for."
        ),
    )
    minimum: float | None = Field(default=None, description="Smallest value in the data given to `save`.")
    maximum: float | None = Field(default=None, description="Largest value in the data given to `save`.")
    out_of_range: Literal["Reject", "Pass"] = Field(
        default="Pass", description="What to do with a value outside of minimum and maximum."
    )
    categories: tuple[Category, ...] | None = Field(
        default=None,
        max_length=MAX_CATEGORIES,
        description="Values seen in a BYTES column, sorted; null where there were more than 1,000.",
    )
    unknown_category: Literal["Reject", "Pass"] = Field(
        default="Pass", description="What to do with a value that isn't one of the categories."
    )
    allow_missing: bool = Field(default=False, description="Whether null is a value.")
    categorical: bool = Field(
        default=False, description="Whether the model was fitted on a pandas categorical of these categories."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name.startswith("__"):
            raise ValueError(f"column {self.name!r} starts with two underscores, which are Perennial's own")
        if self.categorical and (self.categories is None or self.datatype != "BYTES"):
            raise ValueError(f"column {self.name!r} is categorical and so needs BYTES and categories")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"column {self.name!r} has a minimum above its maximum")
        return self

    @cached_property
    def category_set(self) -> frozenset[str] | None:
        """The categories, for look-ups."""
        return None if self.categories is None else frozenset(self.categories)


class Schema(BaseModel):
    """All columns of a model, in the model's order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[Column, ...] = Field(min_length=1, max_length=MAX_COLUMNS)
    outputs: tuple[Column, ...] = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for side, columns in (("inputs", self.inputs), ("outputs", self.outputs)):
            names = [column.name for column in columns]
            if len(set(names)) != len(names):
                raise ValueError(f"{side} has two columns of one name")
        if not self.features:
            raise ValueError("inputs has no Feature")
        if sum(column.role == "EventTime" for column in self.inputs) > 1:
            raise ValueError("inputs has more than one EventTime")
        if any(column.role in {"Output", "Member"} for column in self.inputs):
            raise ValueError("inputs has an Output")
        return self

    @cached_property
    def features(self) -> tuple[Column, ...]:
        """The columns that reach the model, in its order."""
        return tuple(column for column in self.inputs if column.role == "Feature")

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of `features`."""
        return tuple(column.name for column in self.features)

    @cached_property
    def event_time(self) -> Column | None:
        """The EventTime column, if there is one."""
        return next((column for column in self.inputs if column.role == "EventTime"), None)

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """Input columns by name."""
        return {column.name: column for column in self.inputs}

    def check(self, rows: Rows) -> Checked:
        """Check rows and build the frame that `predict` takes; see `validate` for dtypes and errors."""
        columns: dict[str, Any] = dict(rows.columns)
        if rows.matrix is not None:
            columns.update(zip(self.feature_names, rows.matrix.T, strict=True))
        return Checked(self.validate(columns))

    def validate(self, columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:  # type: ignore[override]
        """Check rows given as columns and build the frame that `predict` takes.

        Parameters
        ----------
        columns
            Name to values, as JSON gives them (``None`` is a missing value), or one-dimensional arrays.

        Returns
        -------
        DataFrame
            The given columns in the schema's order. INT64 is int64 (float64 where values are missing), FP32
            float32, FP64 float64, BOOL bool (object where missing), BYTES object with NaN for missing, or a
            categorical where the model was fitted on one.

        Raises
        ------
        InvalidInput
            Naming the column at fault.
        """
        for name in columns:
            if name not in self.by_name:
                raise InvalidInput(
                    str(name)[:256],
                    "UnknownColumn",
                    f"isn't an input; the inputs are {', '.join(self.by_name)}",
                )
        n_rows: int | None = None
        series: dict[str, pd.Series[Any]] = {}
        for column in self.inputs:
            if column.name not in columns:
                if column.role == "Passthrough":
                    continue
                raise InvalidInput(column.name, "MissingColumn", f"is required ({column.datatype})")
            values = columns[column.name]
            if n_rows is None:
                n_rows = len(values)
            if len(values) != n_rows:
                raise InvalidInput(
                    column.name, "LengthMismatch", f"has {len(values)} values where the others have {n_rows}"
                )
            series[column.name] = build_series(column, values)
        if not n_rows:
            raise InvalidInput(self.inputs[0].name, "EmptyInput", "needs at least one row")
        return pd.DataFrame(series, copy=False)
