"""What becomes of a value that the model doesn't know: refused, replaced, or let through.

Each feature has three policies, for a value that is `missing`, a number `out_of_range` and an `unknown_category`:

======== =================================================================================================
Reject   the request is refused, naming the column and the row
Impute   the model is given another value: `impute_value`, or for a number out of range the nearest bound
Pass     the model is given the value as it is
======== =================================================================================================

What is imputed or let through is flagged (`rows.Flag`), where it is news; the log keeps the value that was sent.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import numpy as np
from pydantic import ValidationError

from perennial_bundle.errors import InvalidBundle

if TYPE_CHECKING:
    from perennial_bundle.schema import Column

Action = Literal["Reject", "Impute", "Pass"]
ImputeValue = bool | int | float | str
NUMERIC = frozenset({"INT64", "FP32", "FP64"})
MAX_CATEGORY_LENGTH = 256
INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1


class Policy(TypedDict, total=False):
    """What an author may say of a column, and change later; the fields are those of `Column`."""

    missing: Action
    out_of_range: Action
    unknown_category: Action
    minimum: float | None
    maximum: float | None
    categories: Sequence[str] | None
    impute_value: ImputeValue | None


Policies = Mapping[str, Policy]
POLICY_FIELDS = tuple(Policy.__annotations__)


def check_names(policies: Policies, columns: Collection[str]) -> None:
    """Refuse policies of columns or fields that there aren't.

    Raises
    ------
    InvalidBundle
        Naming what there is.
    """
    for name, policy in policies.items():
        if name not in columns:
            raise InvalidBundle(f"there is no column {name!r}; the columns are {', '.join([*columns][:20])}")
        if unknown := [field for field in policy if field not in POLICY_FIELDS]:
            raise InvalidBundle(
                f"column {name!r} has no policy {unknown[0]!r}; those are {', '.join(POLICY_FIELDS)}"
            )


def apply_policy(column: Column, policy: Policy) -> Column:
    """Return the column with a policy's fields in place of its own.

    Raises
    ------
    InvalidBundle
        They make no sense together, or a categorical's categories would change.
    """
    if (
        column.categorical
        and "categories" in policy
        and tuple(policy["categories"] or ()) != column.categories
    ):
        raise InvalidBundle(
            f"column {column.name!r} is categorical: the model was fitted on just these categories, in this order"
        )
    try:
        return column.changed(**policy)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"{part}: " for part in first["loc"][:1])
        raise InvalidBundle(where + first["msg"].removeprefix("Value error, ")) from error


def read_older(data: Mapping[str, Any]) -> dict[str, Any]:
    """Read a column as bundles described it before there was a policy for missing values.

    They said `allow_missing`, and not whether values had been missing in the data: a column that allows them counts
    as one that has seen them, so that an older bundle doesn't begin to flag. A refusal that they couldn't carry out,
    for want of bounds or categories, is none.
    """
    column = dict(data)
    allowed = bool(column.pop("allow_missing"))
    column.update(missing="Pass" if allowed else "Reject", missing_seen=allowed)
    if column.get("categories") is None:
        column.pop("unknown_category", None)
    if column.get("minimum") is None and column.get("maximum") is None:
        column.pop("out_of_range", None)
    return column


def check_policies(column: Column) -> None:
    """Refuse policies that contradict each other or can't be carried out.

    Raises
    ------
    ValueError
        Naming the column and what to change.
    """
    named = f"column {column.name!r}"
    _check_bounds(column, named)
    if column.unknown_category != "Pass" and column.categories is None:
        raise ValueError(
            f"{named} can't {column.unknown_category} unknown categories: it has no categories; "
            "give some, or Pass them"
        )
    policies = (column.missing, column.out_of_range, column.unknown_category)
    if column.role != "Feature" and "Impute" in policies:
        raise ValueError(f"{named} imputes, but isn't a Feature; Reject or Pass")
    if column.impute_value is not None:
        _check_impute_value(column, named)
    elif column.missing == "Impute" or column.unknown_category == "Impute":
        raise ValueError(f"{named} imputes, but has no impute_value; give one")
    if column.unknown_category == "Impute" and column.impute_value not in (column.categories or ()):
        raise ValueError(
            f"{named} imputes unknown categories by {column.impute_value!r}, which isn't one of its categories"
        )


def _check_bounds(column: Column, named: str) -> None:
    if column.minimum is not None and column.maximum is not None and column.minimum > column.maximum:
        raise ValueError(
            f"{named} has a minimum above its maximum ({column.minimum:g} and {column.maximum:g})"
        )
    if column.out_of_range == "Pass":
        return
    if column.datatype not in NUMERIC:
        raise ValueError(f"{named} is {column.datatype}, which has no range; let out_of_range be Pass")
    if column.minimum is None and column.maximum is None:
        raise ValueError(
            f"{named} can't {column.out_of_range} what is out of range: it has neither minimum nor maximum; "
            "give one, or Pass"
        )
    if column.datatype == "INT64":
        lowest, highest = whole_bounds(column)
        if lowest > highest:
            raise ValueError(f"{named} is INT64, and no whole number lies between its minimum and maximum")


def whole_bounds(column: Column) -> tuple[int, int]:
    """Return the smallest and the largest integer within a column's bounds, within 64 bits."""
    lowest = INT64_MIN if column.minimum is None else max(math.ceil(column.minimum), INT64_MIN)
    highest = INT64_MAX if column.maximum is None else min(math.floor(column.maximum), INT64_MAX)
    return lowest, highest


def _check_impute_value(column: Column, named: str) -> None:
    value = column.impute_value
    if not _is_of(column.datatype, value):
        raise ValueError(f"{named} is {column.datatype}, and its impute_value {value!r} isn't")
    if column.categorical and value not in (column.categories or ()):
        raise ValueError(
            f"{named} is categorical, and its impute_value {value!r} isn't one of its categories"
        )


def _is_of(datatype: str, value: ImputeValue | None) -> bool:
    if datatype == "BYTES":
        return isinstance(value, str) and len(value) <= MAX_CATEGORY_LENGTH
    if datatype == "BOOL":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not INT64_MIN <= value <= INT64_MAX and isinstance(value, int):
        return False
    if datatype == "INT64":
        return float(value).is_integer() and INT64_MIN <= value <= INT64_MAX
    largest = float(np.finfo(np.float32 if datatype == "FP32" else np.float64).max)
    return math.isfinite(value) and abs(value) <= largest
