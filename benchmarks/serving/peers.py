"""The servers that are compared: how each is started, asked and read. See ``peers/`` for their applications."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.environments import environment
from benchmarks.serving.processes import Command, free_port
from benchmarks.serving.subject import Subject, read_v2, v2_body

Rows = npt.NDArray[np.float64]
Read = Callable[[bytes], tuple[list[int], list[float]]]
PEERS = Path(__file__).parent / "peers"
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """Where a server runs: its subject, its port, a directory for its files, the observer's address."""

    subject: Subject
    port: int
    directory: Path
    observer_url: str | None


@dataclass(frozen=True)
class Peer:
    """One server.

    Parameters
    ----------
    name, title
        For ``--peers``, and for the report.
    environment
        Stem of its requirement file; None: the project's own environment.
    packages
        Whose versions the report names.
    start
        Builds its command: (place, python).
    path, body, read
        Its endpoint; a request of rows; predictions and probabilities out of an answer.
    logs
        Whether it sends a prediction log to the observer.
    """

    name: str
    title: str
    environment: str | None
    packages: tuple[str, ...]
    start: Callable[[Place, Path], Command]
    path: str
    body: Callable[[Rows], bytes]
    read: Read
    logs: bool = False

    def python(self) -> Path:
        """Return its interpreter; makes its environment first."""
        if self.environment is None:
            return Path(sys.executable)
        return environment(PEERS / f"{self.environment}.txt") / "bin" / "python"


def start_ours(place: Place, python: Path, *, log: bool) -> Command:
    """`perennial-server` with its defaults."""
    settings = {
        "NAMESPACE": "bench",
        "DEPLOYMENT": "bench",
        "REVISION": "bench-1",
        "BUNDLE_URI": f"file://{place.subject.bundle}",
        "HOST": "127.0.0.1",
        "PORT": str(place.port),
        "GRPC_PORT": str(free_port()),
        "TERMINATION_LOG": str(place.directory / "termination-log"),
        "DRAIN_DELAY_S": "0",
        "LOG_MODE": "All" if log else "None",
        "OBSERVER_URL": place.observer_url or "",
    }
    variables = {f"PERENNIAL_{name}": value for name, value in settings.items()}
    return Command(
        [str(python), "-m", "perennial_server.main"], variables, place.directory, "/v2/health/ready"
    )


def start_bare(place: Place, python: Path) -> Command:
    """The ASGI limit."""
    arguments = ["-m", "uvicorn", "bare_app:app", "--app-dir", str(PEERS), "--host", "127.0.0.1", "--port",
                 str(place.port), "--http", "httptools", "--loop", "uvloop", "--no-access-log"]  # fmt: skip
    return Command([str(python), *arguments], _model(place), place.directory, "/")


def start_fastapi(place: Place, python: Path) -> Command:
    """FastAPI under uvicorn, one worker, access log off."""
    arguments = ["-m", "uvicorn", "fastapi_app:app", "--app-dir", str(PEERS), "--host", "127.0.0.1", "--port",
                 str(place.port), "--no-access-log"]  # fmt: skip
    return Command([str(python), *arguments], _model(place), place.directory, "/docs")


def start_mlserver(place: Place, python: Path, *, max_batch_size: int) -> Command:
    """MLServer's own scikit-learn runtime, in its main process; batches where `max_batch_size` isn't 0."""
    directory = place.directory / f"mlserver-{max_batch_size}"
    directory.mkdir(exist_ok=True)
    server = {
        "host": "127.0.0.1",
        "http_port": place.port,
        "grpc_port": place.port + 1,
        "metrics_port": place.port + 2,
        "parallel_workers": 0,
        "debug": False,
    }
    model: dict[str, Any] = {
        "name": "bench",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(place.subject.joblib)},
    }
    if max_batch_size:
        model |= {"max_batch_size": max_batch_size, "max_batch_time": 0.001}
    (directory / "settings.json").write_text(json.dumps(server))
    (directory / "model-settings.json").write_text(json.dumps(model))
    start = [str(python.with_name("mlserver")), "start", str(directory)]
    return Command(start, {}, directory, "/v2/models/bench/ready")


def start_kserve(place: Place, python: Path) -> Command:
    """KServe's ModelServer around a Model subclass."""
    variables = _model(place) | {"BENCH_PORT": str(place.port)}
    return Command(
        [str(python), str(PEERS / "kserve_app.py")], variables, place.directory, "/v2/models/bench/ready"
    )


def start_bentoml(place: Place, python: Path) -> Command:
    """``bentoml serve``, as its documentation has it."""
    arguments = ["-m", "bentoml", "serve", "bentoml_service:Model", "--working-dir", str(PEERS), "--host",
                 "127.0.0.1", "--port", str(place.port)]  # fmt: skip
    variables = _model(place) | {
        "BENTOML_HOME": str(place.directory / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    return Command([str(python), *arguments], variables, place.directory, "/readyz")


def _model(place: Place) -> dict[str, str]:
    return {"BENCH_MODEL": str(place.subject.joblib), "PYTHONDONTWRITEBYTECODE": "1"}


def _rows_body(rows: Rows) -> bytes:
    return json.dumps({"rows": rows.tolist()}).encode()


def _read_fastapi(answer: bytes) -> tuple[list[int], list[float]]:
    document = json.loads(answer)
    return document["predict"], document["probability"]


def _read_bentoml(answer: bytes) -> tuple[list[int], list[float]]:
    predict, probability = zip(*json.loads(answer), strict=True)
    return [int(value) for value in predict], list(probability)


def _mlserver_body(rows: Rows) -> bytes:
    return v2_body(rows, outputs=[{"name": "predict"}, {"name": "predict_proba"}])


V2 = "/v2/models/bench/infer"
OURS = ("perennial-server", "uvicorn", "uvloop", "scikit-learn", "numpy", "pandas")
ALL = (
    Peer("ours", "Perennial, log on", None, OURS,
         lambda place, python: start_ours(place, python, log=True), V2, v2_body, read_v2, logs=True),
    Peer("ours-no-log", "Perennial, log off", None, OURS,
         lambda place, python: start_ours(place, python, log=False), V2, v2_body, read_v2),
    Peer("bare", "bare ASGI", "bare", ("uvicorn", "uvloop", "httptools", "orjson", "scikit-learn", "numpy"),
         start_bare, V2, v2_body, read_v2),
    Peer("fastapi", "FastAPI", "fastapi", ("fastapi", "uvicorn", "pydantic", "scikit-learn", "numpy"),
         start_fastapi, "/predict", _rows_body, _read_fastapi),
    Peer("mlserver", "MLServer", "mlserver", ("mlserver", "mlserver-sklearn", "scikit-learn", "numpy"),
         lambda place, python: start_mlserver(place, python, max_batch_size=0), V2, _mlserver_body, read_v2),
    Peer("mlserver-batching", "MLServer, batching", "mlserver", ("mlserver", "mlserver-sklearn"),
         lambda place, python: start_mlserver(place, python, max_batch_size=64), V2, _mlserver_body, read_v2),
    Peer("kserve", "KServe", "kserve", ("kserve", "fastapi", "scikit-learn", "numpy"),
         start_kserve, V2, v2_body, read_v2),
    Peer("bentoml", "BentoML", "bentoml", ("bentoml", "scikit-learn", "numpy"),
         start_bentoml, "/predict", _rows_body, _read_bentoml),
)  # fmt: skip
