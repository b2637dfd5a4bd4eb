"""Labels as they come back, turned into what the model was fitted on.

Feedback is JSON and the export is one Parquet column, so a class may come back as 1, 1.0, "1" or true.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from perennial_training.errors import InvalidData


def convert_labels(
    values: Sequence[Any], task: Literal["Classification", "Regression"], classes: Sequence[Any] | None
) -> npt.NDArray[Any]:
    """Turn labels into the classes' own type, or into float64 for a regression.

    Parameters
    ----------
    values : sequence of n labels
        None is not allowed.
    task : str
        The bundle's task.
    classes : sequence or None
        A classifier's classes; a label outside of them is a new class if it has their type.

    Returns
    -------
    array (n,)
        Of the classes' dtype, or float64.

    Raises
    ------
    InvalidData
        A label that fits neither.
    """
    if task == "Regression":
        try:
            numbers = np.array([float(value) for value in values], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidData(f"a label of a regression isn't a number: {error}") from error
        if not np.isfinite(numbers).all():
            raise InvalidData("a label of a regression is not finite")
        return numbers
    assert classes
    known = {_canonical(name): name for name in classes}
    kind = type(classes[0])
    return np.array([known[c] if (c := _canonical(v)) in known else _new_class(v, kind) for v in values])


def class_index(values: npt.NDArray[Any], classes: Sequence[Any]) -> npt.NDArray[np.intp]:
    """Index of each value (n,) in ``classes``; values beyond them get the indices after, in sorted order."""
    order = [*classes, *sorted({value for value in values.tolist() if value not in set(classes)}, key=str)]
    position = {name: index for index, name in enumerate(order)}
    return np.array([position[value] for value in values.tolist()], dtype=np.intp)


def _canonical(value: Any) -> str:
    """One spelling for 1, 1.0, "1", "1.0" and true."""
    text = str(value).strip()
    if text.lower() in {"true", "false"}:
        return "1" if text.lower() == "true" else "0"
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


def _new_class(value: Any, kind: type) -> Any:
    if kind is str:
        return str(value)
    if kind is int and _canonical(value).lstrip("-").isdigit():
        return int(_canonical(value))
    raise InvalidData(f"the label {str(value)[:60]!r} isn't a {kind.__name__}, as the model's classes are")
