"""The champion's policies in training: what of them shapes the rows, and what of them the candidate inherits.

The log keeps values as they were sent. A candidate is trained on what it will be given in service, so what the champion
imputes is imputed; but what it refuses as unknown or out of range is just what a new model should learn.
"""

from collections.abc import Collection
from typing import Any

import pandas as pd
from perennial_bundle import Column, Policy, Schema
from perennial_bundle.policies import MAX_CATEGORY_LENGTH
from perennial_bundle.schema import MAX_CATEGORIES


def as_sent(schema: Schema) -> Schema:
    """Return the schema that reads rows as they were sent.

    A null is refused where the champion refuses it. An unknown value of a categorical can't be kept, and so it is
    imputed at once where it is imputed at all.
    """
    return Schema(inputs=tuple(_as_sent(column) for column in schema.inputs), outputs=schema.outputs)


def _as_sent(column: Column) -> Column:
    policy: Policy = {"out_of_range": "Pass"}
    if not (column.categorical and column.unknown_category == "Impute"):
        policy["unknown_category"] = "Pass"
    if column.missing == "Impute":
        policy["missing"] = "Pass"
    return column.changed(**policy)


def as_trained_on(schema: Schema, frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows as a candidate learns them: imputed as in service, but for the categories that it may yet know."""
    learning = tuple(column.changed(unknown_category="Pass") for column in schema.inputs)
    return Schema(inputs=learning, outputs=schema.outputs).impute(frame)


def inherited(schema: Schema, frame: pd.DataFrame) -> dict[str, Policy]:
    """Return the policies that a candidate inherits.

    A range that is enforced only grows, and one that clips stays: the log of a server that refuses what is out of range
    never holds any of it, so that a range read off the log would shrink from run to run.

    Parameters
    ----------
    schema
        The champion's.
    frame
        The rows that the candidate is made from, as they were sent.
    """
    policies = {
        column.name: _inherit(column, frame[column.name]) for column in schema.inputs if column.name in frame
    }
    return {name: policy for name, policy in policies.items() if policy}


def _inherit(column: Column, values: "pd.Series[Any]") -> Policy:
    known = set(values.dropna())
    policy: Policy = {}
    if column.out_of_range != "Pass":
        policy = _inherit_range(column, known)
    # A column that has grown beyond what a schema lists can't refuse what isn't on the list.
    is_listed = len(known) <= MAX_CATEGORIES and all(
        len(str(value)) <= MAX_CATEGORY_LENGTH for value in known
    )
    if column.unknown_category != "Pass" and is_listed:
        policy["unknown_category"] = column.unknown_category
    if column.missing == "Impute":
        policy["missing"] = "Impute"
    # A category that has died out can't stand for unknown ones; then the most frequent of today does.
    can_stand = "unknown_category" not in policy or column.impute_value in known
    if can_stand and "Impute" in (policy.get("missing"), policy.get("unknown_category")):
        policy["impute_value"] = column.impute_value
    return policy


def _inherit_range(column: Column, known: Collection[float]) -> Policy:
    seen = known if column.out_of_range == "Reject" else ()
    policy: Policy = {"out_of_range": column.out_of_range, "minimum": None, "maximum": None}
    if column.minimum is not None:
        policy["minimum"] = min([column.minimum, *seen])
    if column.maximum is not None:
        policy["maximum"] = max([column.maximum, *seen])
    return policy
