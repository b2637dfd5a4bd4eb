"""A slow model under more requests than it can answer: what is let in is answered, the rest is told when to come back."""

import asyncio
import collections
from pathlib import Path

import httpx
import pytest

from .conftest import DEADLINE_S, build_slow_bundle, read_metric, run_server, wait_for
from .test_start_and_end import is_idle

INFER = "/v2/models/flights/infer"
CLIENTS = 48
ONE_AT_A_TIME = {"MAX_BATCH_ROWS": "1", "PREDICT_THREADS": "1", "INLINE_BELOW_S": "0"}


def build_body(n_rows=1):
    data = [0.5] * (4 * n_rows)
    return {"inputs": [{"name": "all", "shape": [n_rows, 4], "datatype": "FP64", "data": data}]}


@pytest.fixture(scope="module")
def slow_bundle(tmp_path_factory):
    return build_slow_bundle(tmp_path_factory.mktemp("bundles") / "slow")


def flood(server, n_requests, body, headers=None):
    """Send requests on several connections, each client its next one as soon as it has an answer."""

    async def send_all():
        answers = []
        async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE_S) as client:

            async def send_some():
                for _ in range(n_requests // CLIENTS):
                    answers.append(await client.post(INFER, json=body, headers=headers))

            await asyncio.gather(*(send_some() for _ in range(CLIENTS)))
        return answers

    answers = asyncio.run(send_all())
    assert len(answers) == n_requests
    return answers


def count(answers):
    return collections.Counter(answer.status_code for answer in answers)


def read_memory_mib(server):
    status = Path(f"/proc/{server.popen.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def test_a_flood_is_answered_or_refused_and_leaves_no_trace(slow_bundle, tmp_path):
    options = {"MAX_IN_FLIGHT": "8", **ONE_AT_A_TIME}
    with run_server(tmp_path, f"file://{slow_bundle.path}", **options) as server:
        first = flood(server, 480, build_body())
        before_mib = read_memory_mib(server)
        second = flood(server, 480, build_body())
        for answers in (first, second):
            assert set(count(answers)) == {200, 429}
            refused = [answer for answer in answers if answer.status_code == 429]
            assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
            # On a busy machine the model is slow enough for the wait to be the reason.
            reasons = ("the server is busy", "an answer would take")
            assert all(answer.json()["error"].startswith(reasons) for answer in refused)
            # A new connection would cost both more than the refusal.
            assert all("connection" not in answer.headers for answer in refused)
        assert read_memory_mib(server) - before_mib < 20
        wait_for(lambda: is_idle(server), "an idle server")
        assert httpx.post(server.url + INFER, json=build_body()).status_code == 200
        want = count(first)[429] + count(second)[429]
        assert read_metric(server, "perennial_server_refused_total") == want


def test_large_bodies_are_bounded_in_bytes_together(slow_bundle, tmp_path):
    body = build_body(1000)
    options = {"MAX_BODY_BYTES": "30000", "MAX_IN_FLIGHT_BYTES": "60000", **ONE_AT_A_TIME}
    with run_server(tmp_path, f"file://{slow_bundle.path}", **options) as server:
        answers = flood(server, 2 * CLIENTS, body)
        assert set(count(answers)) == {200, 429}
        assert httpx.post(server.url + INFER, json=body).status_code == 200


def test_many_clients_share_calls_of_the_model(slow_bundle, tmp_path):
    with run_server(tmp_path, f"file://{slow_bundle.path}") as server:
        assert count(flood(server, 480, build_body())) == {200: 480}
        calls = read_metric(server, "perennial_server_batch_rows_count")
        assert calls < 480


def test_deadlines_are_honoured_and_nothing_is_done_for_those_who_left(slow_bundle, tmp_path):
    with run_server(tmp_path, f"file://{slow_bundle.path}", **ONE_AT_A_TIME) as server:
        answers = flood(server, 480, build_body(), {"x-envoy-expected-rq-timeout-ms": "40"})
        assert set(count(answers)) <= {200, 429, 504}
        assert count(answers)[200] >= 1
        assert count(answers)[429] + count(answers)[504] >= 1
        # What the model was asked is what was answered.
        assert read_metric(server, "perennial_server_predictions_total") == count(answers)[200]
