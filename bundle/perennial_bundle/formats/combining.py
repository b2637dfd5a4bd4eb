"""One answer out of several models' answers. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from perennial_bundle.schema import Schema
from perennial_bundle.scoring import Outputs, as_output

Classes = tuple[bool | int | str, ...]


def combine(
    answers: Sequence[Outputs], weights: Sequence[float], schema: Schema, classes: Classes | None
) -> Outputs:
    """Take the weighted mean of numbers or of probabilities; members without probabilities cast votes.

    A tie between classes goes to the first of them.

    Parameters
    ----------
    schema
        Of the whole: names the outputs.
    classes
        None for numbers.
    """
    shares = np.asarray(weights, dtype=np.float64) / sum(weights)
    datatype = next(column.datatype for column in schema.outputs if column.name == "predict")
    if classes is None:
        numbers = np.stack([np.asarray(answer["predict"], dtype=np.float64) for answer in answers])
        return {"predict": as_output(shares @ numbers, datatype)}
    spread = np.stack([spread_classes(answer, classes) for answer in answers])
    mean = np.tensordot(shares, spread, axes=1)
    return {
        "predict": as_output(np.array(classes, dtype=object)[mean.argmax(axis=1)], datatype),
        "probability": positive(mean),
    }


def positive(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return what the output ``probability`` holds: of two classes the second's alone."""
    return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities  # noqa: PLR2004


def spread_classes(answer: Outputs, classes: Classes) -> npt.NDArray[np.float64]:
    """Return float64 (n, n_classes): a member's probabilities, or 1 for the class that it names."""
    if "probability" in answer:
        found = np.asarray(answer["probability"], dtype=np.float64)
        return np.column_stack([1 - found, found]) if found.ndim == 1 else found
    return np.column_stack([(answer["predict"] == label).astype(np.float64) for label in classes])


def stack_answers(answers: Mapping[str, Outputs], classes: Classes | None) -> pd.DataFrame:
    """Turn members' answers into the features of the model above them.

    Of two classes one column says all; of more, there is one for each.
    """
    columns: dict[str, Any] = {}
    for name, answer in answers.items():
        if classes is None:
            columns[name] = np.asarray(answer["predict"], dtype=np.float64)
            continue
        spread = spread_classes(answer, classes)
        if len(classes) == 2:  # noqa: PLR2004
            columns[name] = spread[:, 1]
        else:
            columns.update((f"{name}.{index}", spread[:, index]) for index in range(len(classes)))
    return pd.DataFrame(columns)
