"""Client of the detector sidecar: one request per connection on a Unix socket.

The frame is a 4-byte big-endian length and an ``.npz`` without pickles. Both ends implement it on their own, since they
share no dependency but numpy; the contract suite holds them together.
"""

import io
import json
import socket
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial_observer.detectors.base import Floats
from perennial_observer.errors import DetectorFailure, DetectorUnavailable

__all__ = ["Sidecar"]

_LENGTH = struct.Struct(">I")
# The sidecar takes and sends no larger frames.
MAX_FRAME_BYTES = 256 << 20
# What the sidecar says when it can't serve at all, as opposed to not serving this request.
UNAVAILABLE_REASONS = {"Busy", "EngineMissing", "EngineBroken", "LicenceForbids"}


@dataclass(frozen=True)
class Sidecar:
    """Calls alibi-detect.

    Parameters
    ----------
    socket_path
        Where the sidecar listens.
    timeout_s
        Longest wait for any step of one call.
    """

    socket_path: Path
    timeout_s: float = 30.0

    def version(self) -> str:
        """Version of alibi-detect in the sidecar.

        Raises
        ------
        DetectorUnavailable
            If the sidecar doesn't answer, or holds a release whose licence forbids production use.
        """
        answer, _ = self._call({"op": "version"}, {})
        return str(answer.get("alibi_detect", ""))

    def compare_columns(
        self, test: str, reference: Floats, windows: Sequence[Floats], is_category: Sequence[bool] = ()
    ) -> Floats:
        """Statistics of single columns, float64 (windows, d); NaN where too few values are known.

        Parameters
        ----------
        test
            ``ks``, ``cvm``, ``chi_square``, ``fet`` or ``tabular``.
        is_category
            Which columns hold codes, for ``tabular``; empty for none.
        """
        ends = np.cumsum([len(window) for window in windows])
        arrays = {"reference": reference, "window": np.concatenate(list(windows)), "window_ends": ends}
        if is_category:
            arrays["is_category"] = np.array(is_category, dtype=np.bool_)
        _, results = self._call({"op": "columns", "test": test}, arrays)
        return self._result(
            results, "statistic", (len(windows), reference.shape[1] if reference.ndim > 1 else 0)
        )

    def compare_by_classifier(self, reference: Floats, window: Floats, *, seed: int) -> float:
        """How well a classifier tells window from reference, 0 to 1; NaN for a handful of rows."""
        _, results = self._call(
            {"op": "classifier", "seed": seed}, {"reference": reference, "window": window}
        )
        return float(self._result(results, "statistic", ()))

    def compare_uncertainty(self, reference: Floats, window: Floats) -> float:
        """How much the certainty of predicted probabilities, a column per class, has changed, 0 to 1."""
        _, results = self._call({"op": "uncertainty"}, {"reference": reference, "window": window})
        return float(self._result(results, "statistic", ()))

    def isolation_forest(self, key: str, reference: Floats, window: Floats, *, seed: int) -> Floats:
        """Outlier scores, float64 (n,), higher is stranger. The reference is sent only if the sidecar lacks the fit."""
        request = {"op": "isolation_forest", "key": key, "seed": seed}
        try:
            _, results = self._call(request, {"window": window})
        except DetectorFailure as error:
            if error.reason != "ModelNotFitted":
                raise
            _, results = self._call(request, {"reference": reference, "window": window})
        return self._result(results, "score", (len(window),))

    @staticmethod
    def _result(results: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int, ...]) -> Floats:
        array = results.get(name)
        if array is None or array.shape != shape:
            raise DetectorFailure(f"the sidecar's answer lacks {name} of shape {shape}", "InvalidAnswer")
        return array.astype(np.float64)

    def _call(
        self, request: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
    ) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        buffer = io.BytesIO()
        payload: dict[str, Any] = {"request": np.array(json.dumps(request)), **arrays}
        np.savez(buffer, **payload)
        if buffer.tell() > MAX_FRAME_BYTES:
            raise DetectorFailure(
                f"a request of {buffer.tell()} bytes: use smaller windows", "WindowTooLarge"
            )
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self.timeout_s)
                connection.connect(str(self.socket_path))
                connection.sendall(_LENGTH.pack(buffer.tell()) + buffer.getvalue())
                frame = _read_frame(connection)
        except OSError as error:
            raise DetectorUnavailable(f"the detector sidecar doesn't answer: {error}") from error
        try:
            with np.load(io.BytesIO(frame), allow_pickle=False) as archive:
                results = {name: archive[name] for name in archive.files}
            answer: dict[str, Any] = json.loads(str(results.pop("answer")))
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DetectorFailure(
                f"the sidecar's answer is not readable: {error}", "InvalidAnswer"
            ) from error
        _raise_error(answer.get("error"))
        return answer, results


def _raise_error(error: Mapping[str, str] | None) -> None:
    if error is None:
        return
    reason, message = str(error.get("reason", "")), str(error.get("message", ""))
    if reason in UNAVAILABLE_REASONS:
        raise DetectorUnavailable(message, reason)
    raise DetectorFailure(message, reason)


def _read_frame(connection: socket.socket) -> bytes:
    (length,) = _LENGTH.unpack(_read_exactly(connection, _LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise DetectorFailure(f"an answer of {length} bytes", "InvalidAnswer")
    return _read_exactly(connection, length)


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(count - len(data), 1 << 20))
        if not part:
            raise ConnectionResetError("the sidecar closed the connection")
        data += part
    return bytes(data)
