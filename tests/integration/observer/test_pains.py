"""What people suffer from with other monitors, and that it doesn't happen here; docs/pains.md names the rest and whose they are."""

import json
import subprocess
import sys
from itertools import accumulate
from typing import Any

import numpy as np
from perennial_api.monitorreport import MonitorState
from perennial_observer.store import tables as t
from sqlalchemy import select

from .conftest import KEY, Running, deployment, run_observer
from .test_monitoring import SCHEMA, SERVER, STABLE, WINDOW, Stream, send_reference, send_rows, verdict

DEFAULTS = {"window": {"size": WINDOW, "maxAge": "1h", "minSamples": 100}, "falseAlarmEvery": "30d"}
KS = {"type": "Drift", "drift": {"detector": "KS", "engine": "Native"}}


def watched(*monitors: dict[str, Any]) -> dict[str, Any]:
    return {"monitoring": {"eventTime": "at", "defaults": DEFAULTS, "monitors": list(monitors)}}


# 2: alibi-detect#902, #917; whylogs#1600, #1468


async def test_pain_2_where_the_old_library_runs_no_more_our_own_detectors_judge_on(settings, cluster):
    """The settings name a socket that nobody listens at."""
    kinds = {
        **{
            name.lower(): {"detector": name, "engine": "Native"} for name in ("KS", "CVM", "ChiSquare", "PSI")
        },
        "mmd": {"detector": "MMD"},
    }
    monitors = [{"name": name, "type": "Drift", "drift": drift} for name, drift in kinds.items()]
    monitors += [
        {"name": "mahalanobis", "type": "Outlier", "outlier": {"detector": "Mahalanobis"}},
        {"name": "old", "type": "Drift", "drift": {"detector": "KS", "engine": "AlibiDetect"}},
    ]
    async with run_observer(settings, cluster, deployment(watched(*monitors))) as running:
        await send_reference(running)
        await send_rows(running, Stream().rows(WINDOW))
        status = await running.look()
    states = {got.name: got.state for got in status.monitors}
    assert states.pop("old") is MonitorState.ERROR
    assert states == dict.fromkeys([*kinds, "mahalanobis"], MonitorState.OK)


# 3: alibi-detect#388, #816


def test_pain_3_the_observer_imports_nothing_heavy_though_it_is_installed():
    script = "import sys, perennial_observer.main; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    heavy = {"tensorflow", "keras", "torch", "jax", "transformers", "numba", "shap", "alibi_detect"}
    assert set(done.stdout.split()) & heavy == set()


# 7: seldon-core#3379, #2194; MLServer#495, #1019, #1108


def cut(columns: dict[str, list], sizes: list[int]) -> list[dict[str, list]]:
    """The same rows in requests of these sizes."""
    ends = list(accumulate(sizes))
    assert ends[-1] == len(columns["at"])
    return [
        {name: values[end - size : end] for name, values in columns.items()}
        for size, end in zip(sizes, ends, strict=True)
    ]


def read_windows(running: Running) -> list[tuple[float, float, int, float]]:
    w = t.window.c
    with running.observer.store.read() as connection:
        query = select(w.start_event, w.end_event, w.samples, w.verdict).order_by(w.id)
        return [(*rest, json.loads(said)["statistic"]) for *rest, said in connection.execute(query)]


async def test_pain_7_windows_are_the_same_whatever_requests_and_replicas_the_rows_come_by(
    settings, on_postgres, cluster
):
    watching = deployment(watched({"name": "drift", **KS}))
    stream = Stream()
    calm, drifting = stream.rows(WINDOW), stream.rows(2 * WINDOW, shift=1.0)
    columns = {name: [*calm[name], *drifting[name]] for name in calm}
    async with run_observer(settings, cluster, watching) as alone:
        await send_reference(alone)
        await send_rows(alone, columns)
        want = verdict(await alone.look(), "drift")
        windows = read_windows(alone)
    assert [start for start, *_ in windows] == [0.0, 250.0, 500.0]
    assert want.state is MonitorState.ALARM

    pieces = cut(columns, [1, 2, 97, 300, 120, 230])
    async with run_observer(on_postgres, cluster, watching) as other:
        async with run_observer(on_postgres, cluster, watching) as one:
            await send_reference(one)
            await one.observer.tick()
            for i, piece in enumerate(pieces[:-1]):
                await send_rows((one, other)[i % 2], piece)
                await other.observer.tick()
                await one.observer.tick()
            assert read_windows(one) == windows[:2]
            assert KEY.uid not in other.observer.evaluator.reports
        # The one that judged leaves in the middle of an episode that isn't an alarm yet.
        await send_rows(other, pieces[-1])
        other.observer._last_shared = float("-inf")
        got = verdict(await other.look(), "drift")
        assert read_windows(other) == windows
    assert (got.state, got.breach_id, got.statistic) == (want.state, want.breach_id, want.statistic)


# 11: evidently#15, #92


async def test_pain_11_a_report_of_many_rows_and_columns_is_a_few_kilobytes(settings, cluster):
    names = [f"measurement-{i:03}" for i in range(150)]
    random = np.random.default_rng(5)

    def draw(start: int, rows: int, shift: float) -> dict[str, list]:
        values = random.normal(size=(rows, len(names))) + shift
        columns = {name: values[:, i].tolist() for i, name in enumerate(names)}
        return {**columns, "at": [float(start + i) for i in range(rows)]}

    schema = {
        "inputs": [
            *({"name": name, "datatype": "FP64"} for name in names),
            {"name": "at", "datatype": "FP64", "role": "EventTime"},
        ],
        "outputs": SCHEMA["outputs"],
    }
    sizes = {"few": 100, "many": 2_000}
    monitors = [
        {"name": name, **KS, "window": {"size": size, "maxAge": "1h", "minSamples": 100}}
        for name, size in sizes.items()
    ]
    async with run_observer(settings, cluster, deployment(watched(*monitors))) as running:
        reference = {
            "revision": STABLE,
            "bundle_digest": "sha256:" + "a" * 64,
            "schema": schema,
            "task": "Classification",
            "rows": draw(0, 1_000, 0.0),
            "outputs": {},
        }
        told = await running.client.post("/v1/reference", json=reference, headers=SERVER)
        assert told.status_code == 204
        await send_rows(running, draw(1_000, 2_000, 3.0))
        status = await running.look()
        answer = await running.client.get(
            f"/v1/deployments/{KEY.namespace}/{KEY.name}/monitors/many/windows", headers=SERVER
        )
    for name, size in sizes.items():
        got = verdict(status, name)
        assert (got.window_samples, got.statistic > got.threshold) == (size, True)
        assert "measurement-" in got.explanation
        # 20 of them, the most that there can be, are a tenth of what the API server takes.
        assert len(got.model_dump_json()) < 5_000
    assert len(answer.content) < 5_000
