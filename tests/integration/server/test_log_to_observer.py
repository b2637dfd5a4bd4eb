import httpx
import pytest

from .conftest import INFER, build_request, find_port, read_metric, run_observer, run_server, wait_for


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
        reference = wait_for(lambda: observer.read()["reference"], "the reference")[0]
        assert reference["revision"] == "flights-1a2b3c4d"
        assert reference["bundle_digest"] == bundle.digest
        assert set(reference["rows"]) == {"wind", "carrier", "when"}
        assert len(reference["event_time"]) == 500
        wait_for(lambda: read_metric(server, "perennial_server_log_sent_total") == 20, "the count")


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


def test_a_hanging_observer_costs_counted_entries_and_no_prediction(bundle, observer, tmp_path):
    observer.set(mode="hang")
    limits = {
        "LOG_QUEUE_BYTES": "20000",
        "LOG_BATCH_BYTES": "5000",
        "LOG_TIMEOUT_S": "0.5",
        "LOG_ATTEMPTS": "2",
    }
    with run_server(tmp_path, f"file://{bundle.path}", OBSERVER_URL=observer.url, **limits) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for _ in range(300):
                assert client.post(INFER, json=build_request(2)).status_code == 200
        assert read_metric(server, "perennial_server_predictions_total") == 600
        assert read_metric(server, "perennial_server_log_dropped_total") > 0
        assert read_metric(server, "perennial_server_log_queue_bytes") <= 20_000
        assert read_metric(server, "perennial_server_log_sent_total") == 0
        server.popen.terminate()
        assert server.popen.wait(60) == 0


def test_every_entry_is_sent_or_counted_as_dropped(bundle, observer, tmp_path):
    observer.set(mode="busy")
    limits = {"LOG_QUEUE_BYTES": "20000", "LOG_BATCH_ENTRIES": "5", "LOG_ATTEMPTS": "3"}
    with run_server(tmp_path, f"file://{bundle.path}", OBSERVER_URL=observer.url, **limits) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for _ in range(100):
                assert client.post(INFER, json=build_request(2)).status_code == 200
        observer.set(mode="ok")

        def is_settled():
            sent = read_metric(server, "perennial_server_log_sent_total")
            dropped = read_metric(server, "perennial_server_log_dropped_total")
            return sent + dropped == 100 and (sent, dropped)

        sent, dropped = wait_for(is_settled, "all entries")
        assert sent == len(observer.read()["log"]) > 0
        assert dropped > 0


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
