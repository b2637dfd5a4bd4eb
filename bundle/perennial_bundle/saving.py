"""Write a bundle: two lines at the end of a training script."""

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import ValidationError

from perennial_bundle.bundle import Bundle, check_model_types, load
from perennial_bundle.columns import event_time_seconds
from perennial_bundle.errors import InvalidBundle, InvalidInput
from perennial_bundle.inference import PROBE_ROWS, infer_datatype, infer_inputs, probe_tolerance
from perennial_bundle.manifest import MANIFEST_FILE, MODEL_FILE, REFERENCE_FILE, Manifest
from perennial_bundle.reference import choose_rows, plain_values, write_reference
from perennial_bundle.schema import Column, Schema
from perennial_bundle.scoring import Outputs, score

Task = Literal["Classification", "Regression"]
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
) -> Bundle:
    """Write a fitted model with its schema and a reference sample as a bundle.

    The schema is read off `X` and the model: datatypes; ranges (recorded, enforced only for `enforce_ranges`);
    categories; and whether a missing value or an unknown category passes, which is found out by giving the model
    one. What is written is read back and compared with the model before it counts.

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

    Raises
    ------
    InvalidBundle
        The model or the data can't be bundled; the message says what to change.
    UnsafeModel
        The model holds a type that servers wouldn't load, such as a function of your own.
    """
    path = Path(path)
    features = _feature_names(model, X, event_time, passthrough)
    _check_names(X, enforce_ranges, reject_unknown)
    _check_metadata(metadata)
    labels = _check_labels(X, y)
    frame, labels = _in_time_order(X, labels, event_time)
    inputs = infer_inputs(
        frame,
        features=features,
        event_time=event_time,
        passthrough=passthrough,
        enforce_ranges=enforce_ranges,
        reject_unknown=reject_unknown,
    )
    rows = choose_rows(len(frame))
    frame = frame.iloc[rows]
    task = task or _task(model)
    columns = {column.name: plain_values(column, frame[column.name]) for column in inputs}
    try:
        schema = Schema(inputs=inputs, outputs=_outputs(model, task, frame[features]))
        schema = probe_tolerance(model, schema, {n: values[:PROBE_ROWS] for n, values in columns.items()})
        outputs = score(model, schema, task, schema.validate(columns))
    except (ValidationError, InvalidInput) as error:
        raise InvalidBundle(f"X can't be described by a schema: {error}") from error
    _check_same(
        outputs, score(model, schema, task, frame), "the model answers otherwise to rows read from a request"
    )
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=_parent(path)) as scratch:
        directory = Path(scratch) / "bundle"
        directory.mkdir()
        _write_model(model, directory / MODEL_FILE)
        write_reference(
            directory / REFERENCE_FILE,
            schema,
            columns,
            outputs,
            None if labels is None else labels[rows].tolist(),
        )
        _write_manifest(
            directory,
            model=model,
            schema=schema,
            task=task,
            name=name or path.resolve().name,
            metadata=metadata or {},
        )
        again = load(directory)
        got = score(again.model, schema, task, again.reference().inputs)
        _check_same(outputs, got, "the model answers otherwise after it was saved")
        _replace(directory, path)
    return load(path)


def _feature_names(
    model: Any, frame: pd.DataFrame, event_time: str | None, passthrough: Collection[str]
) -> list[str]:
    if not isinstance(frame, pd.DataFrame):
        raise InvalidBundle(
            f"X is a {type(frame).__name__}; give a pandas DataFrame, since columns need names"
        )
    if frame.empty:
        raise InvalidBundle("X has no rows or no columns")
    if not all(isinstance(name, str) for name in frame.columns) or not frame.columns.is_unique:
        raise InvalidBundle("X needs column names that are strings, each once")
    _check_names(frame, [event_time] if event_time is not None else [], passthrough)
    others = {event_time, *passthrough}
    features = [name for name in frame.columns if name not in others]
    fitted = getattr(model, "feature_names_in_", None)
    if fitted is None:
        return features
    fitted = [str(name) for name in fitted]
    if missing := [n for n in fitted if n not in features]:
        raise InvalidBundle(f"X lacks the columns {missing} that the model was fitted on")
    if extra := [n for n in features if n not in fitted]:
        raise InvalidBundle(f"the model wasn't fitted on {extra}; drop them, or list them in passthrough")
    return fitted


def _check_names(frame: pd.DataFrame, *groups: Collection[str]) -> None:
    for group in groups:
        if unknown := [name for name in group if name not in frame.columns]:
            raise InvalidBundle(f"X has no column {unknown[0]!r}")


def _check_metadata(metadata: Mapping[str, Any] | None) -> None:
    try:
        json.dumps(dict(metadata or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidBundle(f"metadata can't be JSON: {error}") from error


def _check_labels(frame: pd.DataFrame, y: Any | None) -> Any | None:
    if y is None:
        return None
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:  # noqa: PLR2004
        labels = labels[:, 0]
    if labels.shape != (len(frame),):
        raise InvalidBundle(f"y has shape {labels.shape}; X has {len(frame)} rows")
    return labels


def _in_time_order(
    frame: pd.DataFrame, labels: Any | None, event_time: str | None
) -> tuple[pd.DataFrame, Any | None]:
    if event_time is None:
        return frame, labels
    times = frame[event_time]
    if bool(times.isna().any()):
        raise InvalidBundle(f"the event time {event_time!r} is missing in some rows")
    try:
        column = Column(name=event_time, datatype=infer_datatype(times), role="EventTime")
        seconds = event_time_seconds(plain_values(column, times))
    except (ValueError, TypeError) as error:
        raise InvalidBundle(
            f"the event time {event_time!r} is neither datetimes, ISO 8601 strings nor seconds: {error}"
        ) from error
    order = np.argsort(seconds, kind="stable")
    return frame.iloc[order], None if labels is None else labels[order]


def _task(model: Any) -> Task:
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(model):
        return "Classification"
    if is_regressor(model):
        return "Regression"
    raise InvalidBundle(f"{type(model).__name__} is neither a classifier nor a regressor; pass task=")


def _outputs(model: Any, task: Task, features: pd.DataFrame) -> tuple[Column, ...]:
    """Describe the outputs, from the model's answer to the first rows."""
    try:
        predicted = np.asarray(model.predict(features.iloc[:PROBE_ROWS]))
    except Exception as error:
        raise InvalidBundle(f"the model can't predict the rows of X: {error}") from error
    if predicted.ndim > 1 and predicted.shape[1:] != (1,):
        raise InvalidBundle(f"the model has {predicted.shape[1]} targets; one is supported")
    if task == "Regression":
        return (Column(name="predict", datatype="FP64", role="Output"),)
    classes = _classes(model)
    assert classes is not None
    predict = Column(
        name="predict",
        datatype=infer_datatype(pd.Series(list(classes))),
        role="Output",
        categories=tuple(map(str, classes)) if isinstance(classes[0], str) else None,
    )
    if not hasattr(model, "predict_proba"):
        return (predict,)
    return (predict, Column(name="probability", datatype="FP64", role="Output", minimum=0, maximum=1))


def _classes(model: Any) -> tuple[bool | int | str, ...] | None:
    if not hasattr(model, "classes_"):
        raise InvalidBundle("the classifier has no classes_; is it fitted?")
    classes = np.asarray(model.classes_).tolist()
    classes = [int(c) if isinstance(c, float) and c.is_integer() else c for c in classes]
    if len({type(c) for c in classes}) != 1 or not isinstance(classes[0], bool | int | str):
        raise InvalidBundle(f"the classes {classes[:5]} aren't all booleans, integers or strings")
    return tuple(classes)


def _check_same(want: Outputs, got: Outputs, otherwise: str) -> None:
    for name, values in want.items():
        numeric = values.dtype.kind in "fiub"
        if not (
            np.allclose(values, got[name], equal_nan=True) if numeric else bool((values == got[name]).all())
        ):
            raise InvalidBundle(f"{otherwise} ({name} differs); check the dtypes of X's columns")


def _parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.parent


def _write_model(model: Any, path: Path) -> None:
    import skops.io

    try:
        skops.io.dump(model, path)
    except Exception as error:
        raise InvalidBundle(f"skops can't save the model: {error}") from error
    check_model_types(path)


def _write_manifest(
    directory: Path, *, model: Any, schema: Schema, task: Task, name: str, metadata: Mapping[str, Any]
) -> None:
    files = {
        n: hashlib.sha256((directory / n).read_bytes()).hexdigest() for n in (MODEL_FILE, REFERENCE_FILE)
    }
    try:
        manifest = Manifest(
            name=name,
            task=task,
            classes=_classes(model) if task == "Classification" else None,
            schema_=schema,
            files=files,
            created_at=datetime.now(UTC),
            libraries={"python": platform.python_version(), **{lib: version(lib) for lib in _LIBRARIES}},
            metadata=dict(metadata),
        )
        (directory / MANIFEST_FILE).write_bytes(manifest.to_json())
    except (ValidationError, ValueError) as error:
        raise InvalidBundle(f"the manifest can't be written: {error}") from error


def _replace(directory: Path, path: Path) -> None:
    """Put the finished directory in its place; nothing but a bundle or an empty directory is replaced."""
    if path.exists():
        if not path.is_dir() or (any(path.iterdir()) and not (path / MANIFEST_FILE).is_file()):
            raise InvalidBundle(f"{path} exists and isn't a bundle; choose another path")
        shutil.rmtree(path)
    directory.rename(path)
