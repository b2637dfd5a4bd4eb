"""A user's own server behind a real perennial-server, which knows it only by its adapter's declaration."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
import yaml
from perennial.manifests.upstream import describe_adapter
from perennial_api.modelruntime import ModelRuntimeSpec

from .conftest import (
    INFER,
    Process,
    build_request,
    find_port,
    read_failure,
    read_metric,
    run_observer,
    run_server,
    start_server,
    wait_for,
)

URI = "runtime://v1"
EXAMPLES = Path(__file__).parents[3] / "examples"
LITTLE_MODEL = Path(__file__).with_name("little_model.py")
FORMS = {
    "Columns": {"request": {"shape": "Columns"}, "response": {"shape": "Columns"}},
    "Plumber": {"request": {"shape": "Rows"}, "response": {"shape": "Columns"}},
}


def declare(port, **changes):
    inputs = [
        {"name": "wind", "datatype": "FP64", "minimum": 0.0, "maximum": 5000.0, "outOfRange": "Reject"},
        {"name": "carrier", "datatype": "BYTES", "categories": ["AA", "DL", "UA"]},
        {"name": "when", "datatype": "BYTES", "role": "EventTime"},
        {"name": "tail", "datatype": "BYTES", "role": "Passthrough"},
    ]
    outputs = [{"name": "predict", "datatype": "INT64"}, {"name": "probability", "datatype": "FP64"}]
    declared = {"format": "container", "port": port, "readyPath": "/ready", "timeoutS": 5}
    return json.dumps({**declared, "inputs": inputs, "outputs": outputs, **changes})


def start_model(tmp_path, port, dialect="Columns"):
    arguments = [sys.executable, str(LITTLE_MODEL), str(port), dialect]
    return Process(arguments, dict(os.environ), port, tmp_path / "model.log")


@contextmanager
def run_model(tmp_path, port, dialect="Columns"):
    model = start_model(tmp_path, port, dialect)
    try:
        model.wait_up("/ready")
        yield model
    finally:
        model.stop()


def request_of(*winds):
    body = build_request(len(winds))
    body["inputs"][0]["data"] = list(winds)
    return body


def infer(server, *winds, timeout_s=30):
    return httpx.post(server.url + INFER, json=request_of(*winds), timeout=timeout_s)


def outputs_of(answer):
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


@pytest.fixture(params=FORMS)
def pair(request, tmp_path):
    """A model of each dialect, and the server before it."""
    port = find_port()
    with run_model(tmp_path, port, request.param) as model:
        adapter = declare(port, **FORMS[request.param])
        with run_server(tmp_path, URI, ADAPTER=adapter, GRPC_PORT=str(find_port())) as server:
            yield model, server


def test_rows_are_answered_over_rest_in_each_dialect(pair):
    model, server = pair
    assert outputs_of(infer(server, 5.0, 15.0)) == {"predict": [0, 1], "probability": [0.25, 0.75]}
    assert outputs_of(infer(server, 15.0)) == {"predict": [1], "probability": [0.75]}
    # What isn't a feature stays in the prediction log.
    assert httpx.get(f"{model.url}/calls").json()["names"] == ["carrier", "wind"]
    metadata = httpx.get(f"{server.url}/v2/models/flights").json()
    assert metadata["platform"] == "container"
    assert [column["name"] for column in metadata["inputs"]] == ["wind", "carrier", "when", "tail"]


def test_the_schema_keeps_bad_rows_from_the_model(pair):
    model, server = pair
    answer = infer(server, -1.0)
    assert answer.status_code == 400
    assert "wind" in answer.json()["error"]
    body = request_of(5.0)
    body["inputs"][1]["data"] = ["XX"]
    flagged = httpx.post(server.url + INFER, json=body)
    assert flagged.status_code == 200
    assert flagged.headers["x-perennial-flags"] == "1"
    assert httpx.get(f"{model.url}/calls").json()["calls"] == 1


def test_errors_and_wrong_answers_are_told_and_counted(pair):
    _, server = pair
    for wind, says in ((404.0, "answered 400"), (500.0, "the model broke"), (501.0, "predict")):
        answer = infer(server, wind)
        assert answer.status_code == 500
        assert says in answer.json()["error"], answer.text
    assert read_metric(server, "perennial_server_model_errors_total") == 3
    assert infer(server, 5.0).status_code == 200


def test_one_bad_request_of_a_batch_fails_alone(tmp_path):
    port = find_port()
    with (
        run_model(tmp_path, port) as model,
        run_server(tmp_path, URI, ADAPTER=declare(port), PREDICT_THREADS="1") as server,
    ):
        statuses = {}
        # While the first call is under way, the others become one batch.
        winds = [1500.0, 1.0, 500.0, 2.0, 3.0]

        def ask(wind):
            statuses[wind] = infer(server, wind).status_code

        threads = [threading.Thread(target=ask, args=(wind,)) for wind in winds]
        threads[0].start()
        wait_for(lambda: httpx.get(f"{model.url}/calls").json()["calls"] == 1, "the first call")
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert statuses == {1500.0: 200, 1.0: 200, 500.0: 500, 2.0: 200, 3.0: 200}


def test_there_is_no_sample_and_no_explanation(pair):
    _, server = pair
    assert httpx.get(f"{server.url}/sample").status_code == 404
    answer = httpx.post(f"{server.url}/v2/models/flights/explain", json=request_of(5.0))
    assert answer.status_code == 404
    assert "reference sample" in answer.json()["error"]


def test_rows_are_answered_over_grpc(tmp_path):
    port, grpc_port = find_port(), find_port()
    with (
        run_model(tmp_path, port),
        run_server(tmp_path, URI, ADAPTER=declare(port), GRPC_PORT=str(grpc_port)),
        triton.InferenceServerClient(f"127.0.0.1:{grpc_port}") as client,
    ):
        inputs = []
        for tensor in request_of(5.0, 15.0)["inputs"]:
            dtype = np.object_ if tensor["datatype"] == "BYTES" else np.float64
            inputs.append(triton.InferInput(tensor["name"], [2], tensor["datatype"]))
            inputs[-1].set_data_from_numpy(np.array(tensor["data"], dtype=dtype))
        assert client.is_model_ready("flights")
        assert client.infer("flights", inputs, client_timeout=30).as_numpy("probability").tolist() == [
            0.25,
            0.75,
        ]


def test_predictions_are_logged_without_a_reference(tmp_path):
    port = find_port()
    with (
        run_observer(tmp_path) as observer,
        run_model(tmp_path, port),
        run_server(tmp_path, URI, ADAPTER=declare(port), OBSERVER_URL=observer.url) as server,
    ):
        answer = infer(server, 5.0, 15.0)
        entry = observer.wait_for_log(1)[0]
        assert entry["prediction_id"] == answer.headers["x-prediction-id"]
        assert entry["outputs"]["probability"] == [0.25, 0.75]
        assert entry["inputs"]["tail"] == ["N101", "N101"]
        assert observer.read()["reference"] == []


def test_slow_model_is_given_up_and_the_next_request_is_answered(tmp_path):
    port = find_port()
    with (
        run_model(tmp_path, port),
        run_server(tmp_path, URI, ADAPTER=declare(port, timeoutS=0.5)) as server,
    ):
        answer = infer(server, 4000.0)
        assert answer.status_code == 504
        assert "0.5 s" in answer.json()["error"]
        assert infer(server, 5.0).status_code == 200
        assert httpx.get(f"{server.url}/v2/health/live").is_success


def test_server_is_unready_while_the_model_is_away_and_comes_back_with_it(tmp_path):
    port = find_port()
    with (
        run_model(tmp_path, port) as model,
        run_server(tmp_path, URI, ADAPTER=declare(port)) as server,
    ):
        assert infer(server, 600.0).status_code == 503
        assert model.popen.wait(60) == 3
        answer = infer(server, 5.0)
        assert answer.status_code == 503
        assert "can't be reached" in answer.json()["error"]
        wait_for(lambda: not server.is_up("/v2/health/ready"), "an unready server")
        assert server.is_up("/v2/health/live")
        with run_model(tmp_path, port):
            server.wait_up("/v2/health/ready")
            assert infer(server, 5.0).status_code == 200


def test_server_waits_for_the_model_and_says_so_when_it_never_comes(tmp_path):
    port = find_port()
    server = start_server(tmp_path, URI, ADAPTER=declare(port), LOAD_TIMEOUT_S="8")
    try:
        server.wait_up("/v2/health/live")
        assert not server.is_up("/v2/health/ready")
        failure = read_failure(server, tmp_path)
        assert failure["reason"] == "Timeout"
        assert str(port) in failure["message"]
    finally:
        server.stop()


def test_what_is_under_way_at_the_end_is_answered(tmp_path):
    port = find_port()
    with (
        run_model(tmp_path, port) as model,
        run_server(tmp_path, URI, ADAPTER=declare(port)) as server,
    ):
        got = []
        thread = threading.Thread(target=lambda: got.append(infer(server, 2500.0)))
        thread.start()
        wait_for(lambda: httpx.get(f"{model.url}/calls").json()["calls"] == 1, "the call")
        server.popen.send_signal(signal.SIGTERM)
        thread.join(60)
        assert outputs_of(got[0])["predict"] == [1]
        assert server.popen.wait(60) == 0


def test_declaration_that_makes_no_sense_is_named(tmp_path):
    server = start_server(tmp_path, URI, ADAPTER=declare(8000, outputs=[]))
    failure = read_failure(server, tmp_path)
    assert "PERENNIAL_ADAPTER" in failure["message"]


@contextmanager
def run_bento(tmp_path, port):
    """The example's service, trained and run as its first lines say, but for the image around it."""
    directory = shutil.copytree(EXAMPLES / "12-bento", tmp_path / "bento")
    subprocess.run([sys.executable, directory / "train.py"], check=True, timeout=120)
    arguments = [sys.executable, "-m", "bentoml", "serve", "service:Late", "--working-dir", str(directory)]
    environment = {
        **os.environ,
        "BENTOML_PORT": str(port),
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    bento = Process([*arguments, "--host", "127.0.0.1"], environment, port, tmp_path / "bento.log")
    try:
        yield bento
    finally:
        bento.popen.send_signal(signal.SIGTERM)
        bento.popen.wait(60)


def test_bento_of_the_example_is_served_as_its_runtime_declares(tmp_path):
    port = find_port()
    runtime, _ = yaml.safe_load_all((EXAMPLES / "12-bento.yaml").read_text())
    runtime["spec"]["adapter"]["port"] = port
    adapter = describe_adapter(ModelRuntimeSpec.model_validate(runtime["spec"]))
    # The server is there first, and waits.
    with run_bento(tmp_path, port) as bento, run_server(tmp_path, URI, ADAPTER=adapter) as server:
        body = request_of(1.0, 40.0)
        body["inputs"] = body["inputs"][:2]
        got = outputs_of(httpx.post(server.url + INFER, json=body))
        assert got["predict"] == [0, 1]
        columns = {tensor["name"]: tensor["data"] for tensor in body["inputs"]}
        assert got == httpx.post(f"{bento.url}/predict", json={"rows": columns}).json()
        assert httpx.get(f"{server.url}/v2/models/flights").json()["platform"] == "bento"
