"""What is asked of alibi-detect; the import is late because it takes seconds and because its licence is read first."""

import importlib
import importlib.metadata
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial_detectors.columns import TESTS, compare_columns
from perennial_detectors.errors import EngineUnavailable, InvalidRequest, ModelNotFitted
from perennial_detectors.together import compare_by_classifier, compare_uncertainty

__all__ = ["Engine", "installed_version", "is_apache_release"]

Floats = npt.NDArray[np.float64]


def installed_version() -> str:
    """The version of alibi-detect on this machine, read without importing it; empty if there is none."""
    try:
        return importlib.metadata.version("alibi-detect")
    except importlib.metadata.PackageNotFoundError:
        return ""


def is_apache_release(version: str) -> bool:
    """Whether `version` is under Apache-2.0: 0.11.4 is the last such release, 0.11.5 begins BSL 1.1.

    Examples
    --------
    >>> is_apache_release("0.11.4"), is_apache_release("0.11.5"), is_apache_release("0.12.0.dev1")
    (True, False, False)
    """
    parts = version.split(".")[:3]
    if len(parts) < 3 or not all(part.isdigit() for part in parts):  # noqa: PLR2004
        return False
    return tuple(int(part) for part in parts) <= (0, 11, 4)


@dataclass
class Engine:
    """alibi-detect's detectors with a bounded store of fitted models; one computation at a time.

    Parameters
    ----------
    max_models
        Fitted forests kept; the one used longest ago goes first.
    """

    max_models: int = 64
    version: str = field(default_factory=installed_version)
    _loaded: dict[str, Any] = field(default_factory=dict)
    _models: "OrderedDict[str, Any]" = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self) -> None:
        """Import alibi-detect.

        Raises
        ------
        EngineUnavailable
            If it is missing, or a release under BSL 1.1, which is never imported.
        """
        if not self.version:
            raise EngineUnavailable("alibi-detect is not installed", "EngineMissing")
        if not is_apache_release(self.version):
            raise EngineUnavailable(
                f"alibi-detect {self.version} is under BSL 1.1, which forbids production use without a commercial"
                " licence; install 0.11.4",
                "LicenceForbids",
            )
        try:
            drift = importlib.import_module("alibi_detect.cd")
            for name in (*TESTS.values(), "ClassifierDrift", "ClassifierUncertaintyDrift"):
                self._loaded[name] = getattr(drift, name)
            self._loaded["IForest"] = importlib.import_module("alibi_detect.od").IForest
        except ImportError as error:
            raise EngineUnavailable(
                f"alibi-detect {self.version} does not import: {error}", "EngineBroken"
            ) from error

    def compare_columns(
        self, test: str, reference: Floats, windows: list[Floats], is_category: npt.NDArray[np.bool_]
    ) -> Floats:
        """Statistic of every column of every window; see :func:`perennial_detectors.columns.compare_columns`."""
        with self._lock:
            return compare_columns(self._loaded, test, reference, windows, is_category)

    def compare_by_classifier(self, reference: Floats, window: Floats, *, seed: int) -> float:
        """How well a classifier tells the two apart."""
        _require_known(reference, window)
        with self._lock:
            return compare_by_classifier(self._loaded, reference, window, seed)

    def compare_uncertainty(self, reference: Floats, window: Floats) -> float:
        """How much the certainty of predicted probabilities has changed."""
        _require_known(reference, window)
        for name, rows in (("reference", reference), ("window", window)):
            if rows.min() < 0 or not np.allclose(rows.sum(axis=1), 1.0, atol=1e-3):
                raise InvalidRequest(
                    f"the {name}'s rows must be probabilities that sum to 1", "NotProbabilities"
                )
        with self._lock:
            return compare_uncertainty(self._loaded, reference, window)

    def isolation_forest(
        self, key: str, reference: Floats | None, window: Floats, *, seed: int, n_estimators: int
    ) -> Floats:
        """Outlier score of every row of `window`, higher is stranger; fitted on `reference` once per key.

        Raises
        ------
        ModelNotFitted
            If nothing is kept under `key` and `reference` is None.
        """
        _require_known(window, *(() if reference is None else (reference,)))
        with self._lock:
            model = self._models.get(key)
            if model is None:
                if reference is None:
                    raise ModelNotFitted("send the reference along")
                # alibi-detect passes no random_state on, so scikit-learn draws from the global generator.
                np.random.seed(seed)  # noqa: NPY002
                model = self._loaded["IForest"](threshold=0.0, n_estimators=n_estimators)
                model.fit(reference)
                self._models[key] = model
                while len(self._models) > self.max_models:
                    self._models.popitem(last=False)
            self._models.move_to_end(key)
            if model.isolationforest.n_features_in_ != window.shape[1]:
                raise InvalidRequest(
                    f"the model has {model.isolationforest.n_features_in_} features, the window {window.shape[1]}",
                    "ShapeMismatch",
                )
            return np.asarray(model.score(window), dtype=np.float64)


def _require_known(*sides: Floats) -> None:
    if not all(np.isfinite(side).all() for side in sides):
        raise InvalidRequest("there are missing values: impute them first", "MissingValues")
