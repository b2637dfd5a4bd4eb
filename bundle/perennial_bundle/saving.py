"""Write a bundle: two lines at the end of a training script."""

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perennial_bundle.bundle import Bundle
from perennial_bundle.errors import InvalidBundle
from perennial_bundle.formats.settling import describe_outputs, settle
from perennial_bundle.formats.skops_file import SkopsScorer, check_model_types
from perennial_bundle.inference import PROBE_ROWS
from perennial_bundle.manifest import MODEL_FILE, Task
from perennial_bundle.policies import Policy
from perennial_bundle.preparing import check_metadata, prepare
from perennial_bundle.writing import Draft, write_bundle

_LIBRARIES = ("scikit-learn", "skops", "numpy", "scipy", "pandas")


def save(
    model: Any,
    X: pd.DataFrame,  # noqa: N803  scikit-learn's name for it
    path: Path | str,
    *,
    y: Any | None = None,
    event_time: str | None = None,
    name: str | None = None,
    task: Task | None = None,
    passthrough: Collection[str] = (),
    metadata: Mapping[str, Any] | None = None,
    enforce_ranges: Collection[str] = (),
    reject_unknown: Collection[str] = (),
    policies: Mapping[str, Policy] | None = None,
) -> Bundle:
    """Write a fitted model with its schema and a reference sample as a bundle.

    The schema is read off `X` and the model: datatypes; ranges (recorded, enforced only for `enforce_ranges`);
    categories; what to impute; and whether a missing value or an unknown category passes, which is found out by
    giving the model one. `policies` decides otherwise. What is written is read back and compared with the model before it counts.

    Parameters
    ----------
    model
        A fitted scikit-learn classifier or regressor with one target, best a whole `Pipeline`.
    X
        Rows as they will come in requests, with the event time and passthrough columns. Best are rows that the
        model wasn't fitted on, in time order.
    path
        Directory to write; must be absent or empty, or hold a bundle, which is replaced.
    y
        The truth for each row of `X`, in the same order.
    event_time
        Column of `X` that says when each row happened: datetimes, ISO 8601 strings or seconds since 1970.
    name
        What to call the model; the directory's name by default.
    task
        By default what scikit-learn says of the model.
    passthrough
        Columns of `X` that are logged, but don't reach the model.
    metadata
        Anything JSON can hold, kept in the manifest.
    enforce_ranges
        Columns whose values outside of the range seen in `X` are to be refused.
    reject_unknown
        Columns whose values not seen in `X` are to be refused even though the model takes them.
    policies
        By column, what to decide instead of what is read off: `missing`, `out_of_range`, `unknown_category` (each
        Reject, Impute or Pass), `minimum`, `maximum`, `categories`, `impute_value`. For instance
        ``{"age": {"missing": "Impute", "maximum": 120, "out_of_range": "Reject"}}``. It goes before
        `enforce_ranges` and `reject_unknown`.

    Raises
    ------
    InvalidBundle
        The model or the data can't be bundled; the message says what to change.
    UnsafeModel
        The model holds a type that servers wouldn't load, such as a function of your own.
    """
    check_metadata(metadata)
    data = prepare(
        X,
        fitted_on=getattr(model, "feature_names_in_", None),
        y=y,
        event_time=event_time,
        passthrough=passthrough,
        enforce_ranges=enforce_ranges,
        reject_unknown=reject_unknown,
        policies=policies,
    )
    task = task or _task(model)
    classes = _classes(model) if task == "Classification" else None
    _check_targets(model, data.as_given().loc[:, data.features])
    outputs = describe_outputs(classes, has_probability=hasattr(model, "predict_proba"))
    settled = settle(data, outputs, lambda schema: SkopsScorer(model, schema, task))
    draft = Draft(
        name=name,
        task=task,
        classes=classes,
        schema=settled.schema,
        libraries=_LIBRARIES,
        metadata=metadata or {},
    )
    return write_bundle(Path(path), draft, data, settled.outputs, partial(_write_model, model))


def _task(model: Any) -> Task:
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(model):
        return "Classification"
    if is_regressor(model):
        return "Regression"
    raise InvalidBundle(f"{type(model).__name__} is neither a classifier nor a regressor; pass task=")


def _check_targets(model: Any, features: pd.DataFrame) -> None:
    try:
        predicted = np.asarray(model.predict(features.iloc[:PROBE_ROWS]))
    except Exception as error:
        raise InvalidBundle(f"the model can't predict the rows of X: {error}") from error
    if predicted.ndim > 1 and predicted.shape[1:] != (1,):
        raise InvalidBundle(f"the model has {predicted.shape[1]} targets; one is supported")


def _classes(model: Any) -> tuple[bool | int | str, ...]:
    if not hasattr(model, "classes_"):
        raise InvalidBundle("the classifier has no classes_; is it fitted?")
    classes = np.asarray(model.classes_).tolist()
    classes = [int(c) if isinstance(c, float) and c.is_integer() else c for c in classes]
    if len({type(c) for c in classes}) != 1 or not isinstance(classes[0], bool | int | str):
        raise InvalidBundle(f"the classes {classes[:5]} aren't all booleans, integers or strings")
    return tuple(classes)


def _write_model(model: Any, directory: Path) -> None:
    import skops.io

    path = directory / MODEL_FILE
    try:
        skops.io.dump(model, path)
    except Exception as error:
        raise InvalidBundle(f"skops can't save the model: {error}") from error
    check_model_types(path)
