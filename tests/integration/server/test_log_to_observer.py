import math

import httpx
import pytest
from perennial_bundle.sampling import is_sampled

from .conftest import INFER, build_request, find_port, read_metric, run_observer, run_server, wait_for
from .log_metrics import read_settled


@pytest.fixture
def observer(tmp_path):
    with run_observer(tmp_path) as observer:
        yield observer


def post(server, n_rows=2, **headers):
    got = httpx.post(server.url + INFER, json=build_request(n_rows), headers=headers, timeout=60)
    assert got.status_code == 200, got.text
    return got


def test_predictions_and_the_reference_reach_the_observer_without_excluded_columns(
    bundle, observer, tmp_path
):
    uri, url = f"file://{bundle.path}", observer.url
    with run_server(tmp_path, uri, OBSERVER_URL=url, LOG_EXCLUDE="tail") as server:
        ids = {post(server).headers["x-prediction-id"] for _ in range(20)}
        log = observer.wait_for_log(20)
        assert {entry["prediction_id"] for entry in log} == ids
        assert set(log[0]["inputs"]) == {"wind", "carrier", "when"}
        assert len(log[0]["outputs"]["probability"]) == 2
        assert set(observer.read()["encodings"]) == {"zstd"}
        reference = wait_for(lambda: observer.read()["reference"], "the reference")[0]
        assert reference["revision"] == "flights-1a2b3c4d"
        assert reference["bundle_digest"] == bundle.digest
        assert set(reference["rows"]) == {"wind", "carrier", "when"}
        assert len(reference["event_time"]) == 500
        assert read_settled(server, 20)["sent"] == 20


def test_mode_none_sends_nothing(bundle, observer, tmp_path):
    with run_server(tmp_path, f"file://{bundle.path}", OBSERVER_URL=observer.url, LOG_MODE="None") as server:
        post(server)
        server.popen.terminate()
        assert server.popen.wait(60) == 0
    assert observer.read()["calls"] == 0


def test_a_rotated_token_is_read_anew(bundle, observer, tmp_path):
    token = tmp_path / "token"
    token.write_text("first")
    observer.set(token="first")
    uri = f"file://{bundle.path}"
    with run_server(
        tmp_path, uri, OBSERVER_URL=observer.url, TOKEN_FILE=str(token), LOG_ATTEMPTS="100"
    ) as server:
        post(server, **{"x-prediction-id": "before"})
        observer.wait_for_log(1)
        observer.set(token="second")
        post(server, **{"x-prediction-id": "after"})
        token.write_text("second")
        assert [entry["prediction_id"] for entry in observer.wait_for_log(2)] == ["before", "after"]


# Short patience and a small queue, so that a broken observer shows at once.
IMPATIENT = {
    "LOG_QUEUE_BYTES": "30000",
    "LOG_BATCH_ENTRIES": "5",
    "LOG_TIMEOUT_S": "0.5",
    "LOG_ATTEMPTS": "2",
    "FLUSH_TIMEOUT_S": "1",
}


@pytest.mark.parametrize(
    ("mode", "want"),
    [
        ("dead", {"QueueFull", "Undelivered"}),
        ("hang", {"QueueFull", "Undelivered"}),
        ("error", {"QueueFull", "Undelivered"}),
        ("refuse", {"QueueFull", "Refused"}),
        ("slow", {"QueueFull"}),
    ],
)
def test_a_broken_observer_costs_counted_requests_and_no_prediction(bundle, observer, tmp_path, mode, want):
    url = f"http://127.0.0.1:{find_port()}" if mode == "dead" else observer.url
    if mode != "dead":
        observer.set(mode=mode)
    limits = IMPATIENT | ({"LOG_TIMEOUT_S": "60"} if mode == "slow" else {})
    with run_server(tmp_path, f"file://{bundle.path}", OBSERVER_URL=url, **limits) as server:
        largest = 0
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for i in range(300):
                assert client.post(INFER, json=build_request(2)).status_code == 200
                if i % 30 == 0:
                    largest = max(largest, read_metric(server, "perennial_server_log_queue_bytes"))
        assert read_metric(server, "perennial_server_predictions_total") == 600
        assert largest <= 30_000
        got = read_settled(server, 300)
        assert set(got["dropped"]) <= want
        assert got["sent"] == len(observer.read()["log"])
        assert (got["sent"] > 0) == (mode == "slow")
        server.popen.terminate()
        assert server.popen.wait(60) == 0


def test_after_an_outage_the_log_goes_on_and_every_request_is_accounted_for(bundle, observer, tmp_path):
    observer.set(mode="busy")
    limits = IMPATIENT | {"LOG_ATTEMPTS": "3"}
    with run_server(tmp_path, f"file://{bundle.path}", OBSERVER_URL=observer.url, **limits) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for _ in range(100):
                assert client.post(INFER, json=build_request(2)).status_code == 200
        observer.set(mode="ok")
        got = read_settled(server, 100)
        assert got["sent"] == len(observer.read()["log"]) > 0
        assert sum(got["dropped"].values()) > 0


def test_what_is_logged_when_the_server_ends_is_sent_before_it_does(bundle, observer, tmp_path):
    uri = f"file://{bundle.path}"
    with run_server(tmp_path, uri, OBSERVER_URL=observer.url, LOG_INTERVAL_S="3600") as server:
        ids = {post(server).headers["x-prediction-id"] for _ in range(20)}
        assert observer.read()["log"] == []
        server.popen.terminate()
        assert server.popen.wait(60) == 0
    assert {entry["prediction_id"] for entry in observer.read()["log"]} == ids


def test_a_sample_is_told_by_ids_and_near_its_share(bundle, observer, tmp_path):
    ids = [f"order-{i}" for i in range(400)]
    inside = [name for name in ids if is_sampled(name, 30)]
    # 30 % of 400, five standard deviations of the binomial distribution to either side.
    assert abs(len(inside) - 120) < 5 * math.sqrt(400 * 0.3 * 0.7)
    uri = f"file://{bundle.path}"
    with run_server(tmp_path, uri, OBSERVER_URL=observer.url, LOG_PERCENT="30") as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for name in ids:
                answer = client.post(INFER, json=build_request(1), headers={"x-prediction-id": name})
                assert answer.status_code == 200
        got = read_settled(server, 400)
        assert (got["sent"], got["left_out"], got["dropped"]) == (len(inside), 400 - len(inside), {})
        log = observer.read()["log"]
        assert [entry["prediction_id"] for entry in log] == inside
        assert {entry["percent"] for entry in log} == {30}


@pytest.mark.parametrize(
    ("mode", "want"),
    [
        ("Request", ({"wind", "carrier", "when"}, set())),
        ("Response", ({"when"}, {"predict", "probability"})),
    ],
)
def test_a_mode_says_which_side_is_logged(bundle, observer, tmp_path, mode, want):
    settings = {"OBSERVER_URL": observer.url, "LOG_MODE": mode, "LOG_EXCLUDE": "tail"}
    with run_server(tmp_path, f"file://{bundle.path}", **settings) as server:
        post(server)
        (entry,) = observer.wait_for_log(1)
        assert (set(entry["inputs"]), set(entry["outputs"])) == want


def test_an_observer_that_cannot_read_zstd_gets_gzip(bundle, observer, tmp_path):
    observer.set(mode="gzip")
    with run_server(tmp_path, f"file://{bundle.path}", OBSERVER_URL=observer.url) as server:
        post(server)
        observer.wait_for_log(1)
        wait_for(lambda: observer.read()["reference"], "the reference")
        assert set(observer.read()["encodings"]) == {"gzip"}
        assert read_settled(server, 1)["sent"] == 1


def test_an_observer_that_refuses_is_not_asked_again_for_the_same_entries(bundle, observer, tmp_path):
    with run_server(tmp_path, f"file://{bundle.path}", OBSERVER_URL=observer.url) as server:
        wait_for(lambda: observer.read()["reference"], "the reference")
        observer.set(mode="reject", calls=0)
        post(server)
        wait_for(lambda: read_metric(server, "perennial_server_log_dropped_total") == 1, "the drop")
        assert observer.read()["calls"] == 1


def test_a_server_starts_without_an_observer_and_finds_it_later(bundle, tmp_path):
    port = find_port()
    uri, url = f"file://{bundle.path}", f"http://127.0.0.1:{port}"
    with run_server(tmp_path, uri, OBSERVER_URL=url, LOG_ATTEMPTS="100", REFERENCE_ATTEMPTS="1000") as server:
        post(server)
        with run_observer(tmp_path, port) as observer:
            observer.wait_for_log(1)
            wait_for(lambda: observer.read()["reference"], "the reference")
