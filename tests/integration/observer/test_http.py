"""The HTTP API against docs/seams.md, with a real server and a real database."""

import asyncio
import gzip
import hashlib
import io
import json

import pyarrow.parquet as pq
import pytest
import zstandard
from perennial_bundle.sampling import is_sampled, sample_place
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from sqlalchemy import select

from .conftest import KEY, OTHER, deployment, run_observer

REVISION = "wine-00000001"
SCHEMA = {
    "inputs": [
        {"name": "acidity", "datatype": "FP64"},
        {"name": "region", "datatype": "BYTES", "categories": ["Alsace", "Rioja"]},
        {"name": "at", "datatype": "FP64", "role": "EventTime"},
    ],
    "outputs": [{"name": "predict", "datatype": "INT64", "role": "Output"}],
}
SERVER = {"Authorization": "Bearer server"}
TRAINER = {"X-Perennial-Token": "trainer"}
NO_MORE = {"unsampled": 0, "reasons": {}}
NONE_MORE = {"unsampled": 0, "mistyped": 0}
FEEDBACK = f"/v1/namespaces/{KEY.namespace}/deployments/{KEY.name}/feedback"
LOG_OF = "/v1/namespaces/shop/deployments/wine/log"


def entry(name: str, at: float = 1_000.0, rows: int = 1) -> dict:
    return {
        "prediction_id": name,
        "time": 5.0,
        "inputs": {"acidity": [3.5] * rows, "region": ["Rioja"] * rows, "at": [at + i for i in range(rows)]},
        "outputs": {"predict": [1] * rows},
    }


def log(*entries: dict, revision: str = REVISION) -> dict:
    return {"revision": revision, "entries": list(entries)}


def reference(**changes) -> dict:
    return {
        "revision": REVISION,
        "bundle_digest": "sha256:" + "a" * 64,
        "schema": SCHEMA,
        "task": "Classification",
        "rows": {"acidity": [3.0, 3.1], "region": ["Rioja", "Alsace"], "at": [1.0, 2.0]},
        "outputs": {"predict": [0, 1]},
        "event_time": [1.0, 2.0],
        **changes,
    }


@pytest.fixture
async def running(settings: Settings, cluster):
    deployments = [deployment({}), deployment({}, key=OTHER)]
    async with run_observer(settings, cluster, *deployments) as running:
        yield running


@pytest.fixture
async def on_either(on_each: Settings, cluster):
    """The same on SQLite and on PostgreSQL, for what the database decides."""
    async with run_observer(on_each, cluster, deployment({})) as running:
        yield running


async def test_rows_sent_twice_are_counted_once(on_either):
    first = await on_either.client.post("/v1/log", json=log(entry("p1", rows=3)), headers=SERVER)
    again = await on_either.client.post("/v1/log", json=log(entry("p1", rows=3), entry("p2")), headers=SERVER)
    assert first.status_code == 202
    assert first.json() == {"accepted": 3, "duplicates": 0, "rejected": 0, "shadow": 0, **NO_MORE}
    assert again.json() == {"accepted": 1, "duplicates": 3, "rejected": 0, "shadow": 0, **NO_MORE}


async def test_rows_that_do_not_fit_are_kept_apart_and_the_rest_is_logged(on_either):
    await on_either.client.post("/v1/reference", json=reference(), headers=SERVER)
    uneven = entry("p1")
    uneven["inputs"]["acidity"] = [1.0, 2.0]
    wrong = entry("p2", rows=2)
    wrong["inputs"]["acidity"][1] = "sour"
    timeless = entry("p3")
    timeless["inputs"]["at"] = [None]
    future = entry("p4", at=9e12)
    got = await on_either.client.post("/v1/log", json=log(uneven, wrong, timeless, future), headers=SERVER)
    reasons = {"LengthMismatch": 1, "WrongType": 1, "NoEventTime": 1, "EventTimeInFuture": 1}
    want = {"accepted": 1, "duplicates": 0, "rejected": 4, "shadow": 0, "unsampled": 0, "reasons": reasons}
    assert got.json() == want
    text = (await on_either.client.get("/metrics")).text
    assert (
        'perennial_log_rejected_rows_total{deployment="wine",namespace="shop",reason="EventTimeInFuture"} 1.0'
        in text
    )
    again = await on_either.client.post("/v1/log", json=log(uneven, wrong), headers=SERVER)
    assert again.json() == {"accepted": 0, "duplicates": 3, "rejected": 0, "shadow": 0, **NO_MORE}


async def test_gzip_bodies_are_read_and_a_bomb_is_refused(settings, cluster):
    small = settings.model_copy(update={"max_body_bytes": 100_000})
    async with run_observer(small, cluster, deployment({})) as running:
        headers = {**SERVER, "Content-Encoding": "gzip"}
        body = gzip.compress(json.dumps(log(entry("p1"))).encode())
        got = await running.client.post("/v1/log", content=body, headers=headers)
        assert got.json()["accepted"] == 1
        bomb = gzip.compress(b" " * 10_000_000)
        refused = await running.client.post("/v1/log", content=bomb, headers=headers)
        assert (refused.status_code, refused.json()["error"]["reason"]) == (413, "TooLarge")
        cut = await running.client.post("/v1/log", content=body[:-9], headers=headers)
        assert (cut.status_code, cut.json()["error"]["reason"]) == (400, "InvalidEncoding")


async def test_zstd_bodies_are_read_and_another_encoding_is_refused(running):
    body = json.dumps(log(entry("p1"))).encode()
    headers = {**SERVER, "Content-Encoding": "zstd"}
    got = await running.client.post("/v1/log", content=zstandard.compress(body), headers=headers)
    assert got.json()["accepted"] == 1
    refused = await running.client.post("/v1/log", content=body, headers={**SERVER, "Content-Encoding": "br"})
    assert (refused.status_code, refused.json()["error"]["reason"]) == (415, "UnknownEncoding")


async def test_requests_sent_as_columns_are_rows_like_others(on_either):
    await on_either.client.post("/v1/reference", json=reference(), headers=SERVER)
    group = {
        "ids": ["p1", "p2"],
        "times": [5.0, 5.0],
        "sizes": [2, 1],
        "inputs": {"acidity": [3.5, 3.6, "sour"], "region": ["Rioja"] * 3, "at": [100.0, 200.0, 300.0]},
        "outputs": {"predict": [1, 0, 1]},
        "flags": [[1, "region", "UnknownCategory", "Passed"]],
    }
    body = {"revision": REVISION, "groups": [group, {**group, "shadow": True}]}
    got = await on_either.client.post("/v1/log", json=body, headers=SERVER)
    want = {"accepted": 2, "duplicates": 0, "rejected": 1, "shadow": 3, "unsampled": 0}
    assert got.json() == want | {"reasons": {"WrongType": 1}}
    again = await on_either.client.post("/v1/log", json=log(entry("p1", at=100.0, rows=2)), headers=SERVER)
    assert again.json()["duplicates"] == 2
    await on_either.client.post(
        FEEDBACK, json={"feedback": [{"prediction_id": "p1", "row": i, "label": i} for i in (0, 1)]}
    )
    export = await on_either.client.get("/v1/export", headers=TRAINER)
    table = pq.read_table(io.BytesIO(export.content)).to_pydict()
    assert (table["acidity"], table["label"]) == ([3.5, 3.6], [0, 1])
    assert "flags" not in table
    with on_either.observer.store.read() as connection:
        flags = connection.execute(select(t.prediction.c.flags).order_by(t.prediction.c.id)).scalars().all()
    assert flags == [None, '[{"column":"region","kind":"UnknownCategory","action":"Passed"}]']
    broken = {"revision": REVISION, "groups": [{**group, "sizes": [1, 1]}]}
    refused = await on_either.client.post("/v1/log", json=broken, headers=SERVER)
    assert (refused.status_code, refused.json()["error"]["reason"]) == (400, "InvalidBody")


async def test_a_label_for_a_prediction_outside_the_sample_is_told_so_and_waits_for_nothing(running):
    ids = [f"p{i}" for i in range(200)]
    inside = [name for name in ids if is_sampled(name, 20)]
    logged = {**log(*(entry(name) for name in inside[:5])), "percent": 20}
    assert (await running.client.post("/v1/log", json=logged, headers=SERVER)).json()["accepted"] == 5
    items = [{"prediction_id": name, "row": 0, "label": 1} for name in ids]
    got = await running.client.post(FEEDBACK, json={"feedback": items})
    want = {"accepted": 5, "unknown": len(inside) - 5, "unsampled": len(ids) - len(inside)}
    assert got.json() == want | {"duplicates": 0, "conflicts": 0, "mistyped": 0}
    # A prediction that is logged all the same (by an older revision) takes its label.
    outside = next(name for name in ids if name not in inside)
    await running.client.post("/v1/log", json={**log(entry(outside)), "percent": 20}, headers=SERVER)
    items = [{"prediction_id": outside, "row": 0, "label": 1}]
    assert (await running.client.post(FEEDBACK, json={"feedback": items})).json()["accepted"] == 1


async def test_of_more_rows_than_a_second_may_bring_a_share_is_kept_and_labels_of_the_rest_are_told_so(
    settings, cluster
):
    now = 1_000.0
    capped = deployment({"monitoring": {"maxRowsPerSecond": 10}})
    # The wall clock goes back all the time, which rates have nothing to do with.
    clocks = {"clock": lambda: 1_000_000.0 - now, "monotonic": lambda: now}
    async with run_observer(settings, cluster, capped, **clocks) as running:
        ids = [f"p{i}" for i in range(2_000)]
        total, shares = {"accepted": 0, "unsampled": 0}, []
        for start in range(0, 2_000, 100):
            now += 10.0
            body = log(*map(entry, ids[start : start + 100]))
            got = (await running.client.post("/v1/log", json=body, headers=SERVER)).json()
            total = {name: total[name] + got[name] for name in total}
            shares.append(got["accepted"] / 100)
        assert sum(total.values()) == 2_000
        # 10 rows a second come in rare batches, and each is measured at its worst.
        assert 0.5 < sum(shares[10:]) / 10 < 0.8
        now += 1.0
        burst = [f"q{i}" for i in range(2_000)]
        got = (await running.client.post("/v1/log", json=log(*map(entry, burst)), headers=SERVER)).json()
        assert 0 < got["accepted"] < 200
        with running.observer.store.read() as connection:
            logged = set(connection.execute(select(t.prediction.c.prediction_id)).scalars())
        outside = [name for name in burst if sample_place(name) > 0.9]
        items = [{"prediction_id": name, "label": 1} for name in (*sorted(logged), *outside)]
        got = (await running.client.post(FEEDBACK, json={"feedback": items})).json()
        assert (got["accepted"], got["unsampled"], got["unknown"]) == (len(logged), len(outside), 0)
        text = (await running.client.get("/metrics")).text
        assert 'perennial_log_rows_total{deployment="wine",namespace="shop",result="unsampled"}' in text


async def test_a_label_that_the_model_cannot_answer_is_told_apart_and_the_rest_is_taken(running):
    await running.client.post("/v1/reference", json=reference(), headers=SERVER)
    await running.client.post("/v1/log", json=log(entry("p1"), entry("p2")), headers=SERVER)
    items = [{"prediction_id": "p1", "label": "sour"}, {"prediction_id": "p2", "label": 1}]
    got = (await running.client.post(FEEDBACK, json={"feedback": items})).json()
    assert (got["accepted"], got["mistyped"]) == (1, 1)
    corrected = [{"prediction_id": "p1", "label": 0}]
    assert (await running.client.post(FEEDBACK, json={"feedback": corrected})).json()["accepted"] == 1
    text = (await running.client.get("/metrics")).text
    assert 'perennial_labels_total{deployment="wine",namespace="shop",result="mistyped"} 1.0' in text


async def test_a_full_write_queue_answers_429_with_retry_after(settings, cluster):
    tiny = settings.model_copy(update={"write_queue_bytes": 300})
    async with run_observer(tiny, cluster, deployment({})) as running:
        # The writer is held up by a job of its own while two requests arrive.
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()
        entered = asyncio.Event()

        def hold(_) -> None:
            loop.call_soon_threadsafe(entered.set)
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(30)

        held = running.observer.store.writer.submit(hold, 200)
        await entered.wait()
        refused = await running.client.post("/v1/log", json=log(entry("p1")), headers=SERVER)
        gate.set()
        await asyncio.wrap_future(held)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "2"
        accepted = await running.client.post("/v1/log", json=log(entry("p1")), headers=SERVER)
        assert accepted.json()["accepted"] == 1


@pytest.mark.parametrize(
    ("call", "token", "want"),
    [
        ("POST /v1/log", "", (401, "Unauthenticated")),
        ("POST /v1/log", "stolen", (401, "InvalidToken")),
        ("POST /v1/log", "trainer", (403, "WrongRole")),
        ("POST /v1/log", "gateway", (403, "WrongRole")),
        (f"POST {LOG_OF}", "server", (403, "WrongRole")),
        (f"POST {LOG_OF}", "pusher", (403, "WrongRole")),
        ("POST /v1/namespaces/shop/deployments/gone/log", "gateway", (404, "DeploymentNotFound")),
        ("PUT /v1/bundles/sha256:" + "0" * 64, "gateway", (403, "WrongRole")),
        ("POST /v1/reference", "pusher", (403, "WrongRole")),
        ("GET /v1/export", "server", (403, "WrongRole")),
        ("GET /v1/watermark", "server", (403, "WrongRole")),
        ("PUT /v1/bundles/sha256:" + "0" * 64, "server", (403, "WrongRole")),
        ("GET /v1/bundles/sha256:" + "0" * 64, "", (401, "Unauthenticated")),
    ],
)
async def test_a_token_may_only_do_what_its_role_says(running, call, token, want):
    got = await running.client.request(*call.split(), headers={"X-Perennial-Token": token})
    assert (got.status_code, got.json()["error"]["reason"]) == want


async def test_a_log_entry_goes_to_the_tokens_deployment_whatever_it_says(running):
    claiming = {**log(entry("p1")), "namespace": KEY.namespace, "deployment": KEY.name, "uid": KEY.uid}
    await running.client.post("/v1/log", json=claiming, headers={"X-Perennial-Token": "other-server"})
    got = (await running.client.get("/v1/watermark", headers=TRAINER)).json()
    assert got["predictions"] == 0


async def test_the_gateway_logs_for_the_deployment_that_its_path_names(running):
    gateway = {"X-Perennial-Token": "gateway"}
    got = await running.client.post(LOG_OF, json=log(entry("p1", rows=2)), headers=gateway)
    assert (got.status_code, got.json()["accepted"]) == (202, 2)
    assert (await running.client.get("/v1/watermark", headers=TRAINER)).json()["predictions"] == 2


async def test_labels_join_their_predictions_in_either_order(on_either):
    items = [{"prediction_id": "p1", "row": 1, "label": 0}, {"prediction_id": "p1", "row": 0, "label": 1}]
    early = await on_either.client.post(FEEDBACK, json={"feedback": items})
    assert early.json() == {"accepted": 0, "duplicates": 0, "conflicts": 0, "unknown": 2, **NONE_MORE}
    await on_either.client.post("/v1/log", json=log(entry("p1", rows=2), entry("p2")), headers=SERVER)
    counts = (await on_either.client.get("/v1/watermark", headers=TRAINER)).json()
    assert (counts["predictions"], counts["labels"]) == (3, 2)
    items = [
        {"prediction_id": "p1", "row": 1, "label": 0},
        {"prediction_id": "p1", "row": 0, "label": 0},
        {"prediction_id": "p2", "row": 0, "label": 1},
        {"prediction_id": "p2", "row": 7, "label": 1},
    ]
    late = await on_either.client.post(FEEDBACK, json={"feedback": items})
    assert late.json() == {"accepted": 1, "duplicates": 1, "conflicts": 1, "unknown": 1, **NONE_MORE}


async def test_labels_without_a_prediction_are_bounded_and_expire(settings, cluster):
    now = 1_000.0
    narrow = settings.model_copy(update={"max_pending_labels": 2, "pending_label_s": 60.0})
    async with run_observer(narrow, cluster, deployment({}), clock=lambda: now) as running:
        items = [{"prediction_id": f"p{i}", "row": 0, "label": 1} for i in range(5)]
        got = await running.client.post(FEEDBACK, json={"feedback": items})
        assert got.json()["unknown"] == 5
        now += 61.0
        await running.observer.share()
        await running.observer.expiry.run()
        await running.client.post("/v1/log", json=log(*(entry(f"p{i}") for i in range(5))), headers=SERVER)
        assert (await running.client.get("/v1/watermark", headers=TRAINER)).json()["labels"] == 0


async def test_feedback_for_nobody_is_refused_and_bad_labels_name_the_field(running):
    nobody = await running.client.post("/v1/namespaces/x/deployments/y/feedback", json={"feedback": []})
    assert (nobody.status_code, nobody.json()["error"]["reason"]) == (404, "DeploymentNotFound")
    bad = await running.client.post(
        FEEDBACK, json={"feedback": [{"prediction_id": "p", "row": -1, "label": 1}]}
    )
    assert bad.status_code == 400
    assert "feedback.0.row" in bad.json()["error"]["message"]
    broken = await running.client.post(FEEDBACK, content=b"{")
    assert broken.json()["error"]["reason"] == "InvalidJson"


async def test_a_bundle_comes_back_as_it_was_pushed(running, settings):
    content = bytes(range(256)) * 20_000
    path = "/v1/bundles/sha256:" + hashlib.sha256(content).hexdigest()
    pusher = {"X-Perennial-Token": "pusher"}
    assert (await running.client.get(path, headers=SERVER)).status_code == 404
    assert (await running.client.put(path, content=content, headers=pusher)).status_code == 201
    assert (await running.client.put(path, content=content, headers=TRAINER)).status_code == 200
    assert (await running.client.get(path, headers=SERVER)).content == content


async def test_a_bundle_of_another_digest_or_too_large_is_not_kept(settings, cluster):
    small = settings.model_copy(update={"max_bundle_bytes": 100})
    async with run_observer(small, cluster, deployment({})) as running:
        pusher = {"X-Perennial-Token": "pusher"}
        path = "/v1/bundles/sha256:" + hashlib.sha256(b"other").hexdigest()
        wrong = await running.client.put(path, content=b"bytes", headers=pusher)
        assert (wrong.status_code, wrong.json()["error"]["reason"]) == (422, "DigestMismatch")
        large = await running.client.put(path, content=b"x" * 101, headers=pusher)
        assert (large.status_code, large.json()["error"]["reason"]) == (413, "TooLarge")
        odd = await running.client.put("/v1/bundles/md5:1", content=b"", headers=pusher)
        assert (odd.status_code, odd.json()["error"]["reason"]) == (400, "InvalidDigest")
        assert list((settings.data_dir / "bundles").iterdir()) == []


async def test_the_export_holds_labelled_rows_by_event_time(on_either):
    await on_either.client.post("/v1/reference", json=reference(), headers=SERVER)
    await on_either.client.post(
        "/v1/log", json=log(entry("b", at=200.0, rows=2), entry("a", at=100.0)), headers=SERVER
    )
    labels = [
        {"prediction_id": "b", "row": 0, "label": 1},
        {"prediction_id": "b", "row": 1, "label": True},
        {"prediction_id": "a", "row": 0, "label": 0},
    ]
    await on_either.client.post(FEEDBACK, json={"feedback": labels})
    got = await on_either.client.get("/v1/export", params={"since": 100, "until": 201}, headers=TRAINER)
    table = pq.read_table(io.BytesIO(got.content))
    want = {
        "prediction_id": ["a", "b"],
        "row": [0, 0],
        "event_time": [100.0, 200.0],
        "revision": [REVISION, REVISION],
        "label": [0, 1],
        "acidity": [3.5, 3.5],
        "region": ["Rioja", "Rioja"],
        "at": [100.0, 200.0],
    }
    assert table.to_pydict() == want
    assert (await on_either.client.get("/v1/export?since=soon", headers=TRAINER)).status_code == 400


async def test_an_export_of_nothing_is_an_empty_table(running):
    got = await running.client.get("/v1/export", headers=TRAINER)
    assert pq.read_table(io.BytesIO(got.content)).num_rows == 0


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"event_time": [2.0, 1.0]}, "time order"),
        ({"outputs": {"predict": [1]}}, "one length"),
        ({"schema": {"inputs": [], "outputs": []}}, "schema"),
        ({"rows": {"nose": [1, 2]}}, "nose"),
        ({"bundle_digest": "sha256:1"}, "bundle_digest"),
    ],
)
async def test_a_reference_that_breaks_its_own_schema_is_refused(running, changes, word):
    got = await running.client.post("/v1/reference", json=reference(**changes), headers=SERVER)
    assert got.status_code == 400
    assert word in got.json()["error"]["message"]


async def test_retention_drops_old_rows_but_never_lowers_the_watermark(on_each, cluster):
    now = 10_000.0
    async with run_observer(
        on_each.model_copy(update={"retention_s": 100.0}), cluster, deployment({}), clock=lambda: now
    ) as running:
        await running.client.post("/v1/reference", json=reference(), headers=SERVER)
        await running.client.post("/v1/log", json=log(entry("p1", at=500.0)), headers=SERVER)
        now += 101.0
        await running.observer.share()
        await running.observer.share()
        await running.observer.expiry.run()
        await running.client.post("/v1/log", json=log(entry("p2", at=400.0)), headers=SERVER)
        got = (await running.client.get("/v1/watermark", headers=TRAINER)).json()
        assert got == {"watermark": 500.0, "predictions": 2, "labels": 0}


async def test_health_and_metrics_need_no_token(running):
    await running.client.post("/v1/log", json=log(entry("p1")), headers=SERVER)
    assert (await running.client.get("/healthz")).status_code == 200
    text = (await running.client.get("/metrics")).text
    assert 'perennial_log_rows_total{deployment="wine",namespace="shop",result="accepted"} 1.0' in text
    assert "perennial_observer_database_bytes" in text
    assert (await running.client.get("/nowhere")).json()["error"]["reason"] == "NotFound"
