"""Rows that are deleted before a window of theirs could be judged: the monitor says so, and what to change."""

from typing import Any

import pytest
from perennial_api.monitorreport import MonitorState
from perennial_observer.settings import Settings

from .conftest import deployment, run_observer
from .test_monitoring import WINDOW, Stream, send_reference, send_rows, verdict


def spec(**retention: str) -> dict[str, Any]:
    performance = {"metric": "accuracy", "min": 0.8, "labels": {"maturity": "7d"}}
    return {
        "monitoring": {
            "eventTime": "at",
            "retention": retention,
            "defaults": {"window": {"size": WINDOW, "maxAge": "6h", "minSamples": 100}},
            "monitors": [
                {"name": "accuracy", "type": "Performance", "performance": performance},
                {"name": "quality", "type": "DataQuality"},
            ],
        }
    }


@pytest.mark.parametrize(
    ("retention", "longest_s", "want"),
    [({"maxAge": "5d"}, 90 * 86_400.0, "120 h"), ({}, 86_400.0, "24 h")],
)
async def test_labels_that_mature_after_their_rows_are_gone_are_told(
    settings: Settings, cluster, retention, longest_s, want
):
    short = settings.model_copy(update={"retention_s": longest_s})
    async with run_observer(short, cluster, deployment(spec(**retention))) as running:
        await send_reference(running)
        await send_rows(running, Stream().rows(WINDOW))
        status = await running.look()
        got = verdict(status, "accuracy")
        assert (got.state, got.reason) == (MonitorState.INSUFFICIENT, "RetentionTooShort")
        assert got.message.startswith(f"rows are deleted {want} after they came")
        assert "is judged 174 h after its first row" in got.message
        assert verdict(status, "quality").state is MonitorState.OK


async def test_windows_that_fill_in_time_need_no_longer_retention(settings, cluster):
    async with run_observer(settings, cluster, deployment(spec(maxAge="1h"))) as running:
        await send_reference(running)
        stream = Stream()
        await send_rows(running, stream.rows(10))
        assert verdict(await running.look(), "quality").reason == "RetentionTooShort"
        await send_rows(running, stream.rows(WINDOW))
        assert verdict(await running.look(), "quality").state is MonitorState.OK
        await send_rows(running, stream.rows(10))
        assert verdict(await running.look(), "quality").state is MonitorState.OK
