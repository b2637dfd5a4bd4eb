"""How odd single rows are stands in the log, and people can ask for it."""

from perennial_api.monitorreport import MonitorState
from perennial_observer.store import tables as t
from perennial_observer.store.retention import delete_oldest
from perennial_observer.store.scores import write_scores
from sqlalchemy import func, select

from .conftest import KEY, Running, deployment, run_observer
from .test_monitoring import SERVER, WINDOW, Stream, send_reference, send_rows, verdict

BASE = f"/v1/deployments/{KEY.namespace}/{KEY.name}"
MONITORING = {
    "eventTime": "at",
    "defaults": {"window": {"size": WINDOW, "maxAge": "1h", "minSamples": 100}},
    "slices": [{"name": "north", "where": 'region == "Alsace"'}],
    "monitors": [
        {"name": "near", "type": "Outlier", "outlier": {"detector": "KNN"}},
        {"name": "north", "type": "Outlier", "slice": "north", "outlier": {"detector": "Mahalanobis"}},
    ],
}


async def get(running: Running, path: str) -> dict:
    got = await running.client.get(f"{BASE}/{path}", headers=SERVER)
    assert got.status_code == 200, got.text
    return got.json()


def count_scores(running: Running) -> dict[str, int]:
    s = t.outlier_score.c
    query = select(s.monitor, func.count()).group_by(s.monitor)
    with running.observer.store.read() as connection:
        return {row.monitor: row[1] for row in connection.execute(query)}


async def test_each_row_of_a_window_gets_its_score_and_the_oddest_are_told(on_each, cluster):
    stream = Stream()
    async with run_observer(on_each, cluster, deployment({"monitoring": MONITORING})) as running:
        await send_reference(running, rows=1_000)
        first = stream.rows(WINDOW)
        first["sugar"][3] = 200.0
        second = stream.rows(WINDOW)
        second["sugar"][7], second["region"][7] = 40.0, "Rioja"
        second["sugar"][9], second["region"][9] = 90.0, "Alsace"
        await send_rows(running, first)
        name = await send_rows(running, second)
        status = await running.look()
        assert verdict(status, "near").state is MonitorState.OK
        north = [place for place in (first["region"] + second["region"]) if place == "Alsace"]
        assert count_scores(running) == {"near": 2 * WINDOW, "north": len(north)}

        newest, oldest = (await get(running, "monitors/near/windows"))["windows"]
        window = await get(running, f"monitors/near/windows/{newest['id']}")
        assert [(row["predictionId"], row["row"]) for row in window["oddest"][:2]] == [(name, 9), (name, 7)]
        scores = [row["score"] for row in window["oddest"]]
        assert (len(scores), scores) == (20, sorted(scores, reverse=True))
        assert scores[1] > 0
        before = await get(running, f"monitors/near/windows/{oldest['id']}")
        assert name not in {row["predictionId"] for row in before["oddest"]}
        assert before["oddest"][0]["row"] == 3

        found = (await get(running, f"predictions/{name}/scores"))["scores"]
        assert [(one["row"], one["monitor"]) for one in found if one["row"] in {7, 9}] == [
            (7, "near"),
            (9, "near"),
            (9, "north"),
        ]
        assert (await get(running, "predictions/nobodys/scores")) == {"scores": []}


async def test_scores_are_written_again_alike_and_go_with_their_rows(on_each, cluster):
    async with run_observer(on_each, cluster, deployment({})) as running:
        store = running.observer.store
        await send_reference(running, rows=100)
        await send_rows(running, Stream().rows(WINDOW))
        with store.read() as connection:
            ids = list(connection.scalars(select(t.prediction.c.id)))
        # One row has expired since its window was read.
        scores = [(id_, 0.5) for id_ in [*ids, max(ids) + 1]]
        for _ in range(2):
            store.writer.submit(lambda c: write_scores(c, "near", scores), 0).result(60)
            assert count_scores(running) == {"near": WINDOW}
        store.writer.submit(
            lambda c: delete_oldest(c, deployment_id=1, before=float("inf"), excess_bytes=0), 0
        ).result(60)
        assert count_scores(running) == {}
