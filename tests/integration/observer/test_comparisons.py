"""Counts by revision through a real observer: what a rollout's gates, a bandit and a shadow experiment read."""

import random
import threading
from collections import defaultdict
from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest
from perennial_api import ModelDeployment
from perennial_api.arms import Arm
from perennial_observer.comparisons import look
from perennial_observer.errors import Unavailable
from perennial_observer.settings import Settings
from perennial_observer.store import tables as t
from sqlalchemy import func, select

from .conftest import KEY, Running, deployment, run_observer

STABLE, CANARY = "wine-00000001", "wine-00000002"
SERVER = {"Authorization": "Bearer server"}
FEEDBACK = f"/v1/namespaces/{KEY.namespace}/deployments/{KEY.name}/feedback"
COUNTED = ("accepted", "duplicates", "rejected", "shadow")
MATURITY_S = 100
MONITORING = {
    "monitors": [
        {
            "name": "accuracy",
            "type": "Performance",
            "performance": {"metric": "accuracy", "min": 0.8, "labels": {"maturity": f"{MATURITY_S}s"}},
        }
    ]
}


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def rolling(spec: dict | None = None, *, attempt: int = 1, canary: str | None = CANARY) -> ModelDeployment:
    """The deployment in the middle of a rollout."""
    base = deployment(spec or {})
    rollout = base.status.rollout.model_copy(update={"attempt": attempt, "canary": canary})
    return base.model_copy(update={"status": base.status.model_copy(update={"rollout": rollout})})


def entry(prediction_id: str, predict: list, *, x: float = 0.0, **more) -> dict:
    return {
        "prediction_id": prediction_id,
        "time": 0.0,
        "inputs": {"x": [x] * len(predict)},
        "outputs": {"predict": predict},
        **more,
    }


async def send(running: Running, revision: str, *entries: dict) -> dict:
    body = {"revision": revision, "entries": list(entries)}
    got = await running.client.post("/v1/log", json=body, headers=SERVER)
    assert got.status_code == 202
    return got.json()


async def label(running: Running, prediction_id: str, value, row: int = 0) -> None:
    item = {"prediction_id": prediction_id, "row": row, "label": value}
    assert (await running.client.post(FEEDBACK, json={"feedback": [item]})).status_code == 200


async def compare(running: Running) -> dict[str, Arm]:
    """Take a look at the comparison and return its arms by revision."""
    await running.observer.compare()
    arms = running.observer.comparer.arms.get(KEY.uid, ())
    return {arm.revision: arm for arm in arms}


async def send_both(running: Running, tag: str = "") -> None:
    """One request to each arm."""
    await send(running, STABLE, entry(f"s{tag}", [1]))
    await send(running, CANARY, entry(f"c{tag}", [1]))


async def test_one_revision_alone_is_compared_with_nothing(settings, cluster):
    async with run_observer(settings, cluster, rolling()) as running:
        await compare(running)
        await send(running, STABLE, entry("a", [1]))
        assert await compare(running) == {}
        await send(running, CANARY, entry("b", [1]))
        arms = await compare(running)
        assert {revision: arm.predictions for revision, arm in arms.items()} == {STABLE: 0, CANARY: 1}


async def test_requests_rows_and_clients_are_counted_apart(settings, cluster):
    async with run_observer(settings, cluster, rolling()) as running:
        await compare(running)
        await send_both(running)
        await compare(running)
        await send(running, CANARY, entry("m", [1, 0, 1], client="ann"), entry("n", [1], client="ann"))
        await send(running, CANARY, entry("o", [1], client="bob"))
        await send(running, STABLE, entry("p", [1], client="ann"))
        arms = await compare(running)
        got = arms[CANARY]
        assert (got.predictions, got.rows, got.clients) == (4, 6, 2)
        assert arms[STABLE].clients == 1
        assert arms[STABLE].since == got.since
        await send(running, CANARY, entry("q", [1], client="bob"))
        assert (await compare(running))[CANARY].clients == 2


async def test_a_request_sent_twice_counts_once(settings, cluster):
    async with run_observer(settings, cluster, rolling()) as running:
        await compare(running)
        for _ in range(2):
            await send_both(running)
            arms = await compare(running)
        assert [arm.predictions for arm in arms.values()] == [1, 1]


async def test_labels_count_when_both_arms_have_had_their_time(settings, cluster, clock):
    spec = {"monitoring": MONITORING}
    async with run_observer(settings, cluster, rolling(spec), clock=clock) as running:
        await compare(running)
        await send_both(running)
        await send(running, CANARY, entry("never", [1]), entry("late", [1]))
        await label(running, "s", 1)
        await label(running, "c", 0)
        arms = await compare(running)
        assert [arm.labels.total for arm in arms.values()] == [0, 0]
        # A bandit doesn't wait.
        assert {r: (a.rewards.count, a.rewards.sum) for r, a in arms.items()} == {
            STABLE: (1, 1.0),
            CANARY: (1, 0.0),
        }
        clock.now += MATURITY_S
        arms = await compare(running)
        assert (arms[STABLE].labels.total, arms[STABLE].labels.bad) == (1, 0)
        got = arms[CANARY].labels
        assert (got.total, got.bad, got.unlabelled) == (1, 1, 2)
        await label(running, "late", 0)
        assert (await compare(running))[CANARY].labels == got


async def test_a_request_is_labelled_once_by_its_first_labelled_row(settings, cluster, clock):
    spec = {"monitoring": MONITORING}
    async with run_observer(settings, cluster, rolling(spec), clock=clock) as running:
        await compare(running)
        await send_both(running)
        await send(running, CANARY, entry("many", [1, 1, 1, 1]))
        await compare(running)
        for row, value in ((3, 0), (1, 1), (2, 0)):
            await label(running, "many", value, row)
        clock.now += MATURITY_S
        got = (await compare(running))[CANARY]
        assert (got.labels.total, got.labels.bad) == (1, 0)
        assert (got.rewards.count, got.rewards.sum) == (1, 1.0)


async def test_without_maturity_a_label_counts_when_it_comes_even_before_its_prediction(settings, cluster):
    async with run_observer(settings, cluster, rolling()) as running:
        await compare(running)
        await send_both(running)
        await label(running, "early", 0)
        await label(running, "c", 1)
        arms = await compare(running)
        assert (arms[CANARY].labels.total, arms[CANARY].labels.bad) == (1, 0)
        await send(running, CANARY, entry("early", [1]))
        got = (await compare(running))[CANARY]
        assert (got.labels.total, got.labels.bad, got.rewards.count) == (2, 1, 2)


async def test_a_client_is_labelled_once(settings, cluster):
    async with run_observer(settings, cluster, rolling()) as running:
        await compare(running)
        await send_both(running)
        for name in ("a", "b", "c2"):
            await send(running, CANARY, entry(name, [1], client="ann"))
            await label(running, name, 0)
            got = (await compare(running))[CANARY]
        assert (got.labels.total, got.labels.bad) == (3, 3)
        assert (got.client_labels.total, got.client_labels.bad) == (1, 1)


async def test_another_attempt_and_a_revision_that_joins_start_at_zero(settings, cluster, clock):
    async with run_observer(settings, cluster, rolling(), clock=clock) as running:
        await compare(running)
        await send_both(running)
        first = await compare(running)
        clock.now += 5
        running.observer.registry.put(rolling(attempt=2))
        await send_both(running, "2")
        second = await compare(running)
        assert second[CANARY].since > first[CANARY].since
        assert [arm.predictions for arm in second.values()] == [1, 1]
        clock.now += 5
        await send(running, "wine-00000003", entry("third", [1]))
        joined = await compare(running)
        assert [arm.predictions for arm in joined.values()] == [0, 0, 1]
        # The labels of what was answered before belong to nobody now.
        await label(running, "c2", 1)
        assert (await compare(running))[CANARY].rewards.count == 0


async def test_a_comparison_ends_when_one_revision_has_answered_alone(settings, cluster, clock):
    async with run_observer(settings, cluster, rolling(), clock=clock) as running:
        await compare(running)
        await send_both(running)
        assert len(await compare(running)) == 2
        clock.now += 3600
        # A rollout that waits for a promotion keeps its counts.
        assert len(await compare(running)) == 2
        running.observer.registry.put(rolling(canary=None))
        await send(running, STABLE, entry("alone", [1]))
        assert await compare(running) == {}
        assert stored_rows(running, t.comparison_unit) == 0


def stored_rows(running: Running, table) -> int:
    with running.observer.store.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


async def test_mirrored_answers_are_paired_and_never_reach_log_or_monitors(settings, cluster):
    async with run_observer(settings, cluster, rolling()) as running:
        await compare(running)
        await send(running, STABLE, entry("one", [1, 0]), entry("two", [1]))
        got = await send(
            running,
            CANARY,
            entry("one", [1, 1], shadow=True),
            entry("two", [1], shadow=True),
            entry("three", [1], shadow=True),
        )
        assert {name: got[name] for name in COUNTED} == {
            "accepted": 0,
            "duplicates": 0,
            "rejected": 0,
            "shadow": 4,
        }
        arms = await compare(running)
        shadow = arms[CANARY].shadow
        assert (arms[CANARY].predictions, arms[STABLE].predictions) == (0, 2)
        assert (shadow.requests, shadow.agreement.total, shadow.agreement.bad) == (3, 2, 1)
        assert arms[STABLE].shadow is None
        # The live answer may come after the mirrored one.
        await send(running, STABLE, entry("three", [0]))
        shadow = (await compare(running))[CANARY].shadow
        assert (shadow.requests, shadow.agreement.total, shadow.agreement.bad) == (3, 3, 2)
        assert stored_rows(running, t.prediction) == 4
        status = await running.look()
        assert status.log.predictions == 4
        again = await send(running, CANARY, entry("one", [1, 1], shadow=True))
        assert {name: again[name] for name in COUNTED} == {
            "accepted": 0,
            "duplicates": 2,
            "rejected": 0,
            "shadow": 0,
        }


async def test_a_mirrored_answer_without_a_live_one_is_given_up(settings, cluster, clock):
    async with run_observer(settings, cluster, rolling(), clock=clock) as running:
        await compare(running)
        await send_both(running)
        await send(running, CANARY, entry("lonely", [1], shadow=True))
        await compare(running)
        clock.now += 61
        await compare(running)
        await send(running, STABLE, entry("lonely", [1]))
        shadow = (await compare(running))[CANARY].shadow
        assert (shadow.requests, shadow.agreement.total) == (1, 0)


REFERENCE = {
    "bundle_digest": "sha256:" + "a" * 64,
    "schema": {
        "inputs": [{"name": "x", "datatype": "FP64"}],
        "outputs": [{"name": "predict", "datatype": "INT64", "role": "Output"}],
    },
    "task": "Classification",
}
OUTLIERS = {
    "monitoring": {
        "monitors": [
            {"name": "outliers", "type": "Outlier", "outlier": {"contamination": 0.01, "maxRate": 0.05}}
        ]
    }
}


async def send_reference(running: Running, revision: str, mean: float) -> None:
    rng = random.Random(1)
    values = [rng.gauss(mean, 1.0) for _ in range(1000)]
    body = {"revision": revision, "rows": {"x": values}, "outputs": {"predict": [1] * 1000}, **REFERENCE}
    assert (await running.client.post("/v1/reference", json=body, headers=SERVER)).status_code == 204


async def test_each_arm_is_judged_by_its_own_reference(settings, cluster, sidecar_socket):
    with_sidecar = settings.model_copy(update={"detector_socket": sidecar_socket})
    async with run_observer(with_sidecar, cluster, rolling(OUTLIERS)) as running:
        await compare(running)
        await send_reference(running, STABLE, 0.0)
        await send_reference(running, CANARY, 50.0)
        await send(running, STABLE, entry("s1", [1], x=0.1), entry("s2", [1], x=50.0))
        await send(
            running,
            CANARY,
            entry("c1", [1, 1], x=0.1, client="ann"),
            entry("c2", [1], x=50.0, client="ann"),
            entry("c3", [1], x=50.0, client="bob"),
        )
        arms = await compare(running)
        assert (arms[STABLE].outliers.total, arms[STABLE].outliers.bad) == (2, 1)
        assert (arms[CANARY].outliers.total, arms[CANARY].outliers.bad) == (3, 1)
        assert (arms[CANARY].client_outliers.total, arms[CANARY].client_outliers.bad) == (2, 1)


async def test_without_detectors_requests_count_and_none_is_judged(settings, cluster):
    async with run_observer(settings, cluster, rolling(OUTLIERS)) as running:
        await compare(running)
        await send_reference(running, STABLE, 0.0)
        await send_both(running)
        arms = await compare(running)
        assert [(arm.predictions, arm.outliers.total) for arm in arms.values()] == [(1, 0), (1, 0)]


async def test_requests_are_judged_again_when_the_detectors_are_back(
    settings, cluster, clock, sidecar_socket
):
    link = settings.detector_socket
    async with run_observer(settings, cluster, rolling(OUTLIERS), clock=clock) as running:
        await compare(running)
        await send_reference(running, STABLE, 0.0)
        await send_reference(running, CANARY, 0.0)
        await send_both(running)
        await compare(running)
        link.symlink_to(sidecar_socket)
        clock.now += 31
        await send(running, CANARY, entry("x", [1], x=50.0))
        arms = await compare(running)
        assert (arms[CANARY].outliers.total, arms[CANARY].outliers.bad) == (1, 1)


async def test_the_report_carries_the_arms(settings, cluster):
    async with run_observer(settings, cluster, rolling()) as running:
        await running.look()
        await compare(running)
        await send_both(running)
        await compare(running)
        assert [arm.revision for arm in cluster.written[-1].arms] == [STABLE, CANARY]


async def test_a_kill_before_the_commit_loses_and_doubles_nothing(settings, cluster, monkeypatch):
    async with run_observer(settings, cluster, rolling()) as running:
        await compare(running)
        await send_both(running)
        before = await compare(running)
        await send(running, CANARY, entry("x", [1], client="ann"))
        await label(running, "x", 0)
        with monkeypatch.context() as patch:
            patch.setattr(look, "write_changes", lambda *_, **__: 1 / 0)
            assert await compare(running) == before
    async with run_observer(settings, cluster, rolling()) as running:
        got = (await compare(running))[CANARY]
        assert (got.predictions, got.clients, got.labels.total) == (2, 1, 1)
        assert got.since == before[CANARY].since


async def test_a_write_that_waits_too_long_loses_and_doubles_nothing(settings, cluster, monkeypatch):
    async with run_observer(settings, cluster, rolling()) as running:
        await compare(running)
        await send_both(running)
        before = await compare(running)
        await send(running, CANARY, entry("x", [1], client="ann"))
        held = threading.Event()
        blocked = running.observer.store.writer.submit(lambda _: held.wait(60), 0)
        with monkeypatch.context() as patch:
            patch.setattr(look, "WRITE_TIMEOUT_S", 0.05)
            assert await compare(running) == before
        held.set()
        assert blocked.result(60)
        got = (await compare(running))[CANARY]
        assert (got.predictions, got.clients) == (2, 1)


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize("begins", [True, False])
async def test_a_commit_in_doubt_loses_and_doubles_nothing_either_way(
    settings, cluster, monkeypatch, is_committed, begins
):
    async with run_observer(settings, cluster, rolling()) as running:
        await compare(running)
        await send(running, STABLE, entry("s", [1]))
        await compare(running)
        await send(running, CANARY, entry("c", [1], client="ann"))
        if not begins:
            await compare(running)
            await send(running, CANARY, entry("x", [1], client="bob"))
        jobs = running.observer.store.writer

        def submit(work, size_bytes):
            if is_committed:
                submit_as_ever(work, size_bytes).result(60)
            doubtful = Future()
            doubtful.set_exception(Unavailable("the server went away in the middle", "DatabaseDown"))
            return doubtful

        submit_as_ever = jobs.submit
        with monkeypatch.context() as patch:
            patch.setattr(jobs, "submit", submit)
            await compare(running)
        await send(running, CANARY, entry("y", [1], client="eve"))
        got = (await compare(running))[CANARY]
        assert (got.predictions, got.clients) == ((2, 2) if begins else (3, 3))


@dataclass
class Recount:
    """The same counts from a plain list of what was sent."""

    predictions: int = 0
    rows: int = 0
    clients: set = field(default_factory=set)
    labels: int = 0
    wrong: int = 0


@pytest.mark.parametrize("seed", range(3))
async def test_counts_are_exact_over_small_steps_and_restarts(settings: Settings, cluster, monkeypatch, seed):
    monkeypatch.setattr(look, "ROWS_PER_STEP", 7)
    rng = random.Random(seed)
    want = defaultdict(Recount)
    waiting = []
    async with run_observer(settings, cluster, rolling()) as running:
        await compare(running)
        await send_both(running)
        await compare(running)
        want[STABLE].predictions = want[CANARY].predictions = 1
        want[STABLE].rows = want[CANARY].rows = 1
    for part in range(4):
        async with run_observer(settings, cluster, rolling()) as running:
            for i in range(25):
                revision = rng.choice([STABLE, CANARY])
                prediction_id, rows, client = f"{part}-{i}", rng.choice([1, 1, 3, 20]), rng.choice("abcd")
                await send(running, revision, entry(prediction_id, [1] * rows, client=client))
                count = want[revision]
                count.predictions += 1
                count.rows += rows
                count.clients.add(client)
                waiting.append((revision, prediction_id))
                if rng.random() < 0.5:
                    revision, prediction_id = waiting.pop(rng.randrange(len(waiting)))
                    value = rng.choice([0, 1])
                    await label(running, prediction_id, value)
                    want[revision].labels += 1
                    want[revision].wrong += value != 1
                if rng.random() < 0.2:
                    await compare(running)
            arms = await compare(running)
    for revision, count in want.items():
        got = arms[revision]
        assert (got.predictions, got.rows, got.clients) == (count.predictions, count.rows, len(count.clients))
        assert (got.labels.total, got.labels.bad) == (count.labels, count.wrong)
