"""One prediction: the frame that the schema built in, arrays by output name out."""

from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from perennial_bundle.schema import Datatype, Schema

Outputs = dict[str, npt.NDArray[Any]]
_DTYPES: dict[str, npt.DTypeLike] = {
    "BOOL": np.bool_,
    "INT64": np.int64,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}


def score(
    model: Any, schema: Schema, task: Literal["Classification", "Regression"], frame: pd.DataFrame
) -> Outputs:
    """Run a model on rows that `Schema.validate` built.

    Returns
    -------
    dict
        ``predict``: array (n,) of the output's datatype. For a classifier with probabilities also
        ``probability``: float64 array (n,) of the positive (second) class for two classes, else
        (n, n_classes) in the order of the manifest's ``classes``.
    """
    return score_features(model, schema, task, select_features(schema, frame))


def score_features(
    model: Any, schema: Schema, task: Literal["Classification", "Regression"], features: Any
) -> Outputs:
    """Run a model on what reaches it, a frame or an array; see `score`."""
    outputs: Outputs = {}
    for column in schema.outputs:
        if column.name == "probability":
            probabilities = np.asarray(model.predict_proba(features), dtype=np.float64)
            if task == "Classification" and probabilities.shape[1] == 2:  # noqa: PLR2004
                probabilities = probabilities[:, 1]
            outputs["probability"] = probabilities
        else:
            outputs[column.name] = as_output(model.predict(features), column.datatype)
    return outputs


def select_features(schema: Schema, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that reach the model, in its order, as a frame that it may change.

    Choosing columns by a list of labels takes pandas longer than all of `Schema.check`.
    """
    if frame.columns.equals(schema.feature_index):
        return frame.copy(deep=False)
    locate = frame.columns.get_loc
    return frame.take([cast("int", locate(name)) for name in schema.feature_names], axis=1)


def as_output(values: Any, datatype: Datatype) -> npt.NDArray[Any]:
    """Turn a model's answer into a flat array (n,) of the output's dtype; strings are Python strings."""
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:  # noqa: PLR2004
        array = array[:, 0]
    if datatype == "BYTES":
        return np.array([str(value) for value in array.tolist()], dtype=np.object_)
    return array.astype(_DTYPES[datatype], copy=False)
