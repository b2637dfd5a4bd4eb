"""ONNX models by onnxruntime: one thread, the CPU, no file but the one whose digest was checked, bounded memory."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from perennial_bundle.errors import InvalidBundle, ModelLoadFailed
from perennial_bundle.formats.combining import spread_classes
from perennial_bundle.formats.onnx_scan import check_onnx, scan_onnx
from perennial_bundle.manifest import ONNX_FILE, Manifest, Task
from perennial_bundle.schema import Schema
from perennial_bundle.scoring import Outputs, as_output, select_features

# Of all ONNX sessions of a process. A graph can ask for any amount; past this it fails instead of the machine.
MAX_ARENA_BYTES = 2 * 2**30
CONTAINER_LIMIT_FILE = Path("/sys/fs/cgroup/memory.max")
_DTYPES: Final[dict[str, npt.DTypeLike]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
_FLOATS = frozenset({"tensor(float)", "tensor(double)"})
_LABELS = frozenset({"tensor(int64)", "tensor(int32)", "tensor(string)", "tensor(bool)"})
_ERROR_LEVEL = 3


class OnnxFormat:
    """``model.onnx``."""

    def check(self, directory: Path, manifest: Manifest) -> None:  # noqa: ARG002  the protocol's
        """Check what the file reaches for; see `onnx_scan.check_onnx` for the errors."""
        check_onnx(directory / ONNX_FILE)

    def load(self, directory: Path, manifest: Manifest) -> "OnnxScorer":
        """Load the model; see `load_onnx` for the errors."""
        data = (directory / ONNX_FILE).read_bytes()
        return load_onnx(data, manifest.schema_, manifest.task, manifest.classes)


@dataclass(frozen=True)
class Feed:
    """One input of the graph, and the columns that it takes: one of its name, or all."""

    name: str
    dtype: npt.DTypeLike
    columns: tuple[str, ...]
    rank: int


@dataclass(frozen=True)
class OnnxScorer:
    """A session behind the schema.

    Parameters
    ----------
    label, probability
        Names of the graph's outputs; None if it has no such output.
    """

    session: Any
    feeds: tuple[Feed, ...]
    label: str | None
    probability: str | None
    schema: Schema
    classes: tuple[bool | int | str, ...] | None

    @property
    def model(self) -> None:
        """There is no estimator in it."""
        return

    def predict(self, frame: pd.DataFrame) -> Outputs:
        """Predict; shapes and dtypes are those of `scoring.score`."""
        names = [name for name in (self.label, self.probability) if name is not None]
        found = dict(
            zip(
                names,
                self.session.run(names, {f.name: build_feed(f, frame, self.schema) for f in self.feeds}),
                strict=True,
            )
        )
        outputs: Outputs = {}
        probabilities = None if self.probability is None else self._probabilities(found[self.probability])
        for column in self.schema.outputs:
            if column.name == "probability" and probabilities is not None:
                outputs["probability"] = probabilities
            elif self.label is not None:
                outputs[column.name] = as_output(found[self.label], column.datatype)
            elif probabilities is not None:
                likely = spread_classes({"probability": probabilities}, self.classes or ()).argmax(axis=1)
                labels = np.array(self.classes, dtype=object)[likely]
                outputs[column.name] = as_output(labels, column.datatype)
        return outputs

    def _probabilities(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        found = np.asarray(values, dtype=np.float64)
        n_classes = len(self.classes or ())
        if found.ndim == 1:
            found = found[:, np.newaxis]
        if n_classes == 2 and found.shape[1] in {1, 2}:  # noqa: PLR2004  the positive class
            return found[:, -1]
        if found.shape[1:] != (n_classes,):
            raise ValueError(
                f"{self.probability} has shape {found.shape} where there are {n_classes} classes"
            )
        return found


def build_feed(feed: Feed, frame: pd.DataFrame, schema: Schema) -> npt.NDArray[Any]:
    """Return what an input of the graph is given for a frame.

    Raises
    ------
    ValueError
        A value is missing where the input takes none.
    """
    values = select_features(schema, frame) if len(feed.columns) > 1 else frame[feed.columns[0]]
    # Numpy would make some whole number, or a yes, of a value that isn't there.
    if np.dtype(feed.dtype).kind != "f" and bool(np.asarray(values.isna()).any()):
        raise ValueError(
            f"{', '.join(feed.columns[:5])}: a value is missing, and {feed.name!r} takes none for it"
        )
    if isinstance(values, pd.DataFrame):
        matrix: npt.NDArray[Any] = values.to_numpy(dtype=feed.dtype)
        return matrix
    if feed.dtype == np.object_:
        array: npt.NDArray[Any] = np.array(values.astype(object).tolist(), dtype=object)
    else:
        array = np.asarray(values, dtype=feed.dtype)
    return array.reshape(-1, 1) if feed.rank == 2 else array  # noqa: PLR2004


def load_onnx(
    data: bytes, schema: Schema, task: Task, classes: tuple[bool | int | str, ...] | None
) -> OnnxScorer:
    """Open a model and match its inputs and outputs with the schema.

    Raises
    ------
    UnsafeModel
        It reaches beyond its file.
    InvalidBundle
        It doesn't fit the schema.
    ModelLoadFailed
        onnxruntime isn't installed, or can't load it.
    """
    scan_onnx(data, ONNX_FILE)
    session = _open(data)
    label, probability = _match_outputs(session.get_outputs(), task, len(classes or ()))
    return OnnxScorer(
        session=session,
        feeds=_match_inputs(session.get_inputs(), schema.feature_names),
        label=label,
        probability=probability,
        schema=schema,
        classes=classes,
    )


def _open(data: bytes) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelLoadFailed("onnxruntime isn't installed; install perennial-bundle[onnx]") from error
    _bound_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERROR_LEVEL
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        return onnxruntime.InferenceSession(
            data,
            options,
            providers=["CPUExecutionProvider"],
            # Folding would run parts of the graph while it is loaded, before anything has been asked of it.
            disabled_optimizers=["ConstantFolding"],
        )
    except Exception as error:
        raise ModelLoadFailed(
            f"onnxruntime {onnxruntime.__version__} can't load the model: {str(error)[:500]}"
        ) from error


@cache
def _bound_memory() -> None:
    """Give all sessions one arena with an end."""
    import onnxruntime

    onnxruntime.create_and_register_allocator(
        onnxruntime.OrtMemoryInfo(
            "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
        ),
        # As much as was asked for, not the next power of two.
        onnxruntime.OrtArenaCfg({"max_mem": choose_arena_bytes(), "arena_extend_strategy": 1}),
    )


def choose_arena_bytes(limit_file: Path = CONTAINER_LIMIT_FILE) -> int:
    """Return half of what the container may take, at most `MAX_ARENA_BYTES`: the kernel ends a process that takes more."""
    try:
        text = limit_file.read_text(encoding="ascii").strip()
    except OSError:
        return MAX_ARENA_BYTES
    return min(MAX_ARENA_BYTES, int(text) // 2) if text.isdigit() else MAX_ARENA_BYTES


def _match_inputs(inputs: Sequence[Any], features: Sequence[str]) -> tuple[Feed, ...]:
    """Find the columns of each input: all for one matrix of numbers, else the column of its name."""
    for item in inputs:
        if item.type not in _DTYPES:
            raise InvalidBundle(
                f"the ONNX input {item.name!r} is {item.type}; it has to be one of {', '.join(_DTYPES)}"
            )
    if len(inputs) == 1 and len(inputs[0].shape) == 2 and inputs[0].type != "tensor(string)":  # noqa: PLR2004
        width = inputs[0].shape[1]
        if not isinstance(width, int) or width == len(features):
            return (Feed(inputs[0].name, _DTYPES[inputs[0].type], tuple(features), 2),)
        raise InvalidBundle(
            f"the ONNX input {inputs[0].name!r} takes {width} columns; X has {len(features)} features"
        )
    columns = {re.sub(r"\W", "_", name): name for name in features}
    feeds = []
    for item in inputs:
        # Converters write a column's name with underscores in place of what isn't a letter or a digit.
        column = item.name if item.name in features else columns.get(item.name)
        if column is None:
            raise InvalidBundle(
                f"the ONNX input {item.name!r} is no feature of X; name the graph's inputs as the columns, or give it one matrix"
            )
        feeds.append(Feed(item.name, _DTYPES[item.type], (column,), len(item.shape)))
    taken = [feed.columns[0] for feed in feeds]
    if unused := sorted(set(features) - set(taken)):
        raise InvalidBundle(
            f"no ONNX input takes the features {unused[:5]}; drop them, or list them in passthrough"
        )
    return tuple(feeds)


def _match_outputs(outputs: Sequence[Any], task: Task, n_classes: int) -> tuple[str | None, str | None]:
    """Find the names of the label (or number) and of the probabilities."""
    if any(item.type.startswith("seq(map(") for item in outputs):
        raise InvalidBundle(
            "the ONNX model answers with a list of dictionaries (ZipMap), slow to read; "
            "convert it with options={id(model): {'zipmap': False}}"
        )
    floats = [item for item in outputs if item.type in _FLOATS]
    if task == "Regression":
        if not floats:
            raise InvalidBundle("the ONNX model has no output of floats")
        return floats[0].name, None
    label = next((item.name for item in outputs if item.type in _LABELS), None)
    widths = {n_classes, 1} if n_classes == 2 else {n_classes}  # noqa: PLR2004
    probability = next(
        (
            item.name
            for item in floats
            if len(item.shape) == 2 and (not isinstance(item.shape[1], int) or item.shape[1] in widths)  # noqa: PLR2004
        ),
        None,
    )
    if label is None and probability is None:
        raise InvalidBundle(
            f"the ONNX model has neither an output of labels nor one of probabilities for {n_classes} classes"
        )
    return label, probability
