"""Write a bundle around an ONNX model, whatever library it was trained with."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from perennial_bundle.bundle import Bundle
from perennial_bundle.errors import InvalidBundle
from perennial_bundle.formats.onnx_file import OnnxScorer, load_onnx
from perennial_bundle.formats.settling import describe_outputs, read_classes, settle
from perennial_bundle.manifest import ONNX_FILE, Task
from perennial_bundle.policies import Policy
from perennial_bundle.preparing import check_metadata, prepare
from perennial_bundle.schema import Schema
from perennial_bundle.writing import Draft, write_bundle

_LIBRARIES = ("onnxruntime", "numpy", "pandas")


def save_onnx(
    model: bytes | Path | str,
    X: pd.DataFrame,  # noqa: N803  scikit-learn's name for it
    path: Path | str,
    *,
    task: Task,
    classes: Sequence[Any] | None = None,
    y: Any | None = None,
    event_time: str | None = None,
    name: str | None = None,
    passthrough: Collection[str] = (),
    metadata: Mapping[str, Any] | None = None,
    enforce_ranges: Collection[str] = (),
    reject_unknown: Collection[str] = (),
    policies: Mapping[str, Policy] | None = None,
) -> Bundle:
    """Write an ONNX model with its schema and a reference sample as a bundle.

    The graph takes one matrix of numbers, whose columns are `X`'s features in order, or one input for each feature
    under its name. It answers with a label, with probabilities (n, n_classes), or both; for a regression with a
    number. What it says to the reference rows is what onnxruntime says here.

    Parameters
    ----------
    model
        The file's bytes, or its path. All data lies inside it, and its operators are of ai.onnx and ai.onnx.ml.
    classes
        Of a Classification: the classes, in the order of its probabilities.

    Other parameters are those of `perennial_bundle.save`.

    Raises
    ------
    InvalidBundle
        The model or the data can't be bundled; the message says what to change.
    UnsafeModel
        The model reaches for other files, or for operators of a custom library.
    ModelLoadFailed
        onnxruntime can't load the model.
    """
    data_bytes = model if isinstance(model, bytes) else Path(model).read_bytes()
    check_metadata(metadata)
    labels = read_classes(task, classes)
    data = prepare(
        X,
        fitted_on=None,
        y=y,
        event_time=event_time,
        passthrough=passthrough,
        enforce_ranges=enforce_ranges,
        reject_unknown=reject_unknown,
        policies=policies,
    )

    def make_scorer(schema: Schema) -> OnnxScorer:
        return load_onnx(data_bytes, schema, task, labels)

    plain = describe_outputs(labels, has_probability=False)
    has_probability = make_scorer(Schema(inputs=data.inputs, outputs=plain)).probability is not None
    settled = settle(data, describe_outputs(labels, has_probability=has_probability), make_scorer)
    if labels is not None and (unknown := set(settled.outputs["predict"].tolist()) - set(labels)):
        raise InvalidBundle(f"the model answers with {sorted(unknown)[:5]}, which classes= doesn't name")
    draft = Draft(
        name=name,
        format="onnx",
        task=task,
        classes=labels,
        schema=settled.schema,
        libraries=_LIBRARIES,
        metadata=metadata or {},
    )

    def write_model(directory: Path) -> None:
        (directory / ONNX_FILE).write_bytes(data_bytes)

    return write_bundle(Path(path), draft, data, settled.outputs, write_model)
