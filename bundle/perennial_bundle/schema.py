"""What goes into a model and what comes out of it, column by column.

The server checks requests with it, the observer reads event times and columns by it, training builds frames
with it; so all of them see the same values in the same dtypes.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from perennial_bundle.checking import Checker
from perennial_bundle.policies import MAX_CATEGORY_LENGTH, Action, ImputeValue, check_policies, read_older
from perennial_bundle.rows import Checked, Rows

MAX_COLUMNS = 4096
MAX_CATEGORIES = 1000

Datatype = Literal["BOOL", "INT64", "FP32", "FP64", "BYTES"]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Category = Annotated[str, StringConstraints(max_length=MAX_CATEGORY_LENGTH)]


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
    minimum: float | None = Field(
        default=None, allow_inf_nan=False, description="Smallest value in the data given to `save`."
    )
    maximum: float | None = Field(
        default=None, allow_inf_nan=False, description="Largest value in the data given to `save`."
    )
    out_of_range: Action = Field(
        default="Pass",
        description="What becomes of a value outside of minimum and maximum; Impute takes the nearer of them.",
    )
    categories: tuple[Category, ...] | None = Field(
        default=None,
        max_length=MAX_CATEGORIES,
        description="Values seen in a BYTES column, sorted; null where there were more than 1,000.",
    )
    unknown_category: Action = Field(
        default="Pass", description="What becomes of a value that isn't one of the categories."
    )
    missing: Action = Field(default="Reject", description="What becomes of a null.")
    missing_seen: bool = Field(
        default=False,
        description="Whether values were missing in the data given to `save`; then one that passes isn't flagged.",
    )
    impute_value: ImputeValue | None = Field(
        default=None,
        description=(
            "What Impute puts in the place of a missing value or an unknown category. `save` writes down the median "
            "of numbers, and the most frequent string or boolean."
        ),
    )
    categorical: bool = Field(
        default=False, description="Whether the model was fitted on a pandas categorical of these categories."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, data: Any) -> Any:
        return read_older(data) if isinstance(data, Mapping) and "allow_missing" in data else data

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name.startswith("__"):
            raise ValueError(f"column {self.name!r} starts with two underscores, which are Perennial's own")
        if self.categorical and (self.categories is None or self.datatype != "BYTES"):
            raise ValueError(f"column {self.name!r} is categorical and so needs BYTES and categories")
        check_policies(self)
        return self

    @property
    def allow_missing(self) -> bool:
        """Whether a null is answered, whatever the model is given for it."""
        return self.missing != "Reject"

    def without_refusals(self) -> Self:
        """Return the column with Pass in place of each Reject."""
        policies = ("missing", "out_of_range", "unknown_category")
        return self.changed(**{name: "Pass" for name in policies if getattr(self, name) == "Reject"})

    def changed(self, **fields: Any) -> Self:
        """Return the column with other fields, checked like any.

        Raises
        ------
        ValidationError
            The whole makes no sense.
        """
        return type(self).model_validate(self.model_dump() | fields)

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
    def feature_datatype(self) -> Datatype | None:
        """The datatype that all features have; None if they differ."""
        datatypes = {column.datatype for column in self.features}
        return datatypes.pop() if len(datatypes) == 1 else None

    @cached_property
    def feature_index(self) -> "pd.Index[Any]":
        """The columns of a frame that holds the features only."""
        return pd.Index(self.feature_names)

    @cached_property
    def event_time(self) -> Column | None:
        """The EventTime column, if there is one."""
        return next((column for column in self.inputs if column.role == "EventTime"), None)

    @cached_property
    def by_name(self) -> Mapping[str, Column]:
        """Input columns by name."""
        return {column.name: column for column in self.inputs}

    @cached_property
    def checker(self) -> Checker:
        """What checks rows, made once."""
        return Checker(self.inputs)

    def check(self, rows: Rows) -> Checked:
        """Check rows, apply the columns' policies, and build the frame that `predict` takes.

        Parameters
        ----------
        rows
            By column: values as JSON gives them (``None`` is a missing value; so is NaN), or one-dimensional arrays.

        Returns
        -------
        Checked
            The given columns in the schema's order. INT64 is int64 (float64 where values are missing), FP32
            float32, FP64 float64, BOOL bool (object where missing), BYTES object with NaN for missing, or a
            categorical where the model was fitted on one. Flagged is each feature's value that was imputed, and
            each that passed though the data given to `save` had none like it: out of range, of an unknown category,
            or missing.

        Raises
        ------
        InvalidInput
            Naming the column at fault, and the row where it is one value.
        """
        return self.checker.check(rows)

    @cached_property
    def imputing(self) -> Checker | None:
        """What imputes features as `check` does, and refuses none for its policy; None if nothing is imputed."""
        if not any("Impute" in (c.missing, c.out_of_range, c.unknown_category) for c in self.features):
            return None
        return Checker([column.without_refusals() for column in self.features])

    def impute(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Turn rows as they were sent into those that the model is given in service.

        Training judges a model by logged rows, which are kept as they were sent.

        Parameters
        ----------
        frame
            All features in the schema's dtypes, as `check` builds them where everything passes, and any other
            columns. Values that the schema would refuse are left as they are.
        """
        if self.imputing is None or frame.empty:
            return frame
        columns = {name: frame[name].astype(object).tolist() for name in self.feature_names}
        imputed = self.imputing.check_columns(columns).frame.set_axis(frame.index)
        return frame.assign(**{str(name): values for name, values in imputed.items()})

    def validate(self, columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:  # type: ignore[override]
        """Check rows given as columns, as `check` does, and return the frame only."""
        return self.checker.check_columns(columns).frame
