"""Fewer rows than are normal: by all revisions that answer, and with the gaps between windows."""

from typing import Any

from .conftest import KEY, deployment, run_observer
from .test_monitoring import NEXT, STABLE, WINDOW, Stream, send_reference, send_rows, verdict

# Of rows one second apart there are 3,600.
SPEC: dict[str, Any] = {
    "monitoring": {
        "eventTime": "at",
        "defaults": {"window": {"size": WINDOW, "maxAge": "1h", "minSamples": 100}},
        "monitors": [{"name": "quality", "type": "DataQuality", "dataQuality": {"minPerHour": 3_000}}],
    }
}


def every_other(columns: dict[str, list], start: int) -> dict[str, list]:
    return {name: values[start::2] for name, values in columns.items()}


async def test_a_rollout_that_takes_half_of_the_traffic_is_no_low_volume_but_a_gap_is(on_each, cluster):
    stream = Stream()
    async with run_observer(on_each, cluster, deployment(SPEC)) as running:
        for revision in (STABLE, NEXT):
            await send_reference(running, revision)
        reasons = []
        for _ in range(2):
            both = stream.rows(2 * WINDOW)
            await send_rows(running, every_other(both, 1), NEXT)
            await send_rows(running, every_other(both, 0), STABLE)
            reasons.append(verdict(await running.look(), "quality").reason)
        assert reasons == ["WithinLimits", "WithinLimits"]
        stream.at += 3_600
        await send_rows(running, stream.rows(WINDOW))
        got = verdict(await running.look(), "quality")
        assert got.reason == "LowVolume"
        assert "rows in 1.07 h, minPerHour is 3000" in got.message
        # The pace of windows is told by where they end: 500 s, and then an hour and 250 s, which counts for maxAge.
        memory = running.observer.evaluator.reports[KEY.uid].memories["quality"]
        assert memory.window_every_s == 500.0 + (3_600.0 - 500.0) / 8
