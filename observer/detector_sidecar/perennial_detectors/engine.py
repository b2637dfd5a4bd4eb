"""What is asked of alibi-detect; the import is late because it takes seconds and because its licence is read first."""

import importlib
import importlib.metadata
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial_detectors.errors import EngineUnavailable, InvalidRequest, ModelNotFitted

__all__ = ["Engine", "installed_version", "is_apache_release"]

Floats = npt.NDArray[np.float64]

# A two-sample test on fewer values says nothing; the answer for such a feature is NaN, which the caller must treat as
# "not tested", never as "no drift".
MIN_VALUES = 2


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
            self._loaded["KSDrift"] = importlib.import_module("alibi_detect.cd").KSDrift
            self._loaded["IForest"] = importlib.import_module("alibi_detect.od").IForest
        except ImportError as error:
            raise EngineUnavailable(
                f"alibi-detect {self.version} does not import: {error}", "EngineBroken"
            ) from error

    def ks(self, reference: Floats, windows: list[Floats]) -> tuple[Floats, Floats]:
        """Kolmogorov-Smirnov distance of every feature of every window from the reference.

        Missing values (NaN) are left out, feature by feature: alibi-detect answers NaN or p = 0 otherwise.

        Parameters
        ----------
        reference
            float64 (m, d).
        windows
            float64 (n_i, d) each.

        Returns
        -------
        tuple
            statistic and p-value, float64 (len(windows), d); NaN where too few values remain.
        """
        shape = (len(windows), reference.shape[1])
        statistic, p_value = np.full(shape, np.nan), np.full(shape, np.nan)
        with self._lock:
            for column in range(reference.shape[1]):
                known = _finite(reference[:, column])
                if len(known) < MIN_VALUES:
                    continue
                detector = self._loaded["KSDrift"](known, p_val=0.05)
                for i, window in enumerate(windows):
                    values = _finite(window[:, column])
                    if len(values) < MIN_VALUES:
                        continue
                    p, distance = detector.feature_score(known, values)
                    statistic[i, column], p_value[i, column] = distance[0], p[0]
        return statistic, p_value

    def isolation_forest(
        self, key: str, reference: Floats | None, window: Floats, *, seed: int, n_estimators: int
    ) -> Floats:
        """Outlier score of every row of `window`, higher is stranger; fitted on `reference` once per key.

        Raises
        ------
        ModelNotFitted
            If nothing is kept under `key` and `reference` is None.
        """
        if reference is not None and not np.isfinite(reference).all():
            raise InvalidRequest("the reference holds missing values: impute them first", "MissingValues")
        if not np.isfinite(window).all():
            raise InvalidRequest("the window holds missing values: impute them first", "MissingValues")
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


def _finite(values: Floats) -> Floats:
    kept: Floats = values[np.isfinite(values)]
    return kept.reshape(-1, 1)
