"""A schema for a scorer: what its outputs are, and which missing values and unknown categories it takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ValidationError

from perennial_bundle.errors import InvalidBundle, InvalidInput
from perennial_bundle.formats.combining import Classes
from perennial_bundle.formats.protocol import Scorer
from perennial_bundle.inference import PROBE_ROWS, infer_datatype, probe_tolerance
from perennial_bundle.manifest import Task
from perennial_bundle.preparing import Prepared
from perennial_bundle.rows import Rows
from perennial_bundle.schema import Column, Schema
from perennial_bundle.scoring import Outputs
from perennial_bundle.writing import check_as_given


@dataclass(frozen=True)
class Settled:
    """A schema that fits the scorer, and what the scorer says to the reference rows."""

    schema: Schema
    outputs: Outputs


class AsModel:
    """A scorer that answers as scikit-learn's models do, for the probes."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def predict(self, features: pd.DataFrame) -> npt.NDArray[Any]:
        """Answer with the first output alone."""
        return self._scorer.predict(features)["predict"]


def settle(data: Prepared, outputs: Sequence[Column], make_scorer: Callable[[Schema], Scorer]) -> Settled:
    """Find out the schema by asking the model.

    Parameters
    ----------
    make_scorer
        Puts the model behind a schema.

    Raises
    ------
    InvalidBundle
        The model and the data don't fit each other; the message says why.
    """
    first = {name: values[:PROBE_ROWS] for name, values in data.columns.items()}
    try:
        schema = Schema(inputs=data.inputs, outputs=tuple(outputs))
        schema = probe_tolerance(AsModel(make_scorer(schema)), schema, first, data.policies)
        scorer = make_scorer(schema)
        checked = schema.check(Rows(len(data.frame), data.columns))
    except (ValidationError, InvalidInput) as error:
        raise InvalidBundle(f"X can't be described by a schema: {error}") from error
    try:
        found = scorer.predict(checked.frame)
        check_as_given(checked, found, data.frame, scorer.predict)
    except InvalidBundle:
        raise
    except Exception as error:
        raise InvalidBundle(f"the model can't predict the rows of X: {error}") from error
    return Settled(schema, found)


def read_classes(task: Task, classes: Sequence[Any] | None) -> Classes | None:
    """Check the classes that an author names.

    Raises
    ------
    InvalidBundle
        They are missing, of several types, or not wanted.
    """
    if (task == "Classification") != (classes is not None):
        raise InvalidBundle(
            "pass classes= for a Classification, in the order of its probabilities, and only for it"
        )
    if classes is None:
        return None
    plain = np.asarray(classes).tolist()
    if len(plain) < 2 or len({type(c) for c in plain}) != 1 or not isinstance(plain[0], bool | int | str):  # noqa: PLR2004
        raise InvalidBundle(f"the classes {plain[:5]} have to be two or more booleans, integers or strings")
    return tuple(plain)


def describe_outputs(classes: Classes | None, *, has_probability: bool) -> tuple[Column, ...]:
    """Describe a model's outputs; `classes` is None for numbers."""
    if classes is None:
        return (Column(name="predict", datatype="FP64", role="Output"),)
    predict = Column(
        name="predict",
        datatype=infer_datatype(pd.Series(list(classes))),
        role="Output",
        categories=tuple(map(str, classes)) if isinstance(classes[0], str) else None,
    )
    if not has_probability:
        return (predict,)
    return (predict, Column(name="probability", datatype="FP64", role="Output", minimum=0, maximum=1))
