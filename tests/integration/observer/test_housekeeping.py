"""Whatever goes wrong in a round of a loop, the process goes on with the next."""

import logging

import pytest
from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.main import Observer

from .conftest import deployment, run_observer


class Broken:
    """Fails a number of times as nobody expects, then does nothing."""

    def __init__(self, error: Exception) -> None:
        self.errors = [error]
        self.calls = 0

    def __call__(self, *_):
        self.calls += 1
        if self.errors:
            raise self.errors.pop()


@pytest.mark.parametrize("error", [ZeroDivisionError("no"), TimeoutError("no result in time")])
async def test_housekeeping_outlives_what_nobody_expected_and_leaves_nothing_out(
    settings, cluster, monkeypatch, caplog, error
):
    async with run_observer(settings, cluster, deployment({})) as running:
        observer: Observer = running.observer
        sidecar, sizes = Broken(error), Broken(error)
        monkeypatch.setattr(Sidecar, "version", sidecar)
        monkeypatch.setattr(observer.expiry, "_is_held", lambda _: sizes() or True)
        with caplog.at_level(logging.ERROR):
            await observer.keep_house()
        assert [bool(record.exc_info) for record in caplog.records] == [True, True]
        await observer.keep_house()
        assert (sidecar.calls, sizes.calls) == (2, 2)


async def test_a_tick_outlives_leases_and_reports_that_fail_as_nobody_expected(
    settings, cluster, monkeypatch, caplog
):
    async with run_observer(settings, cluster, deployment({})) as running:
        observer: Observer = running.observer
        refresh, write = Broken(TimeoutError()), Broken(ZeroDivisionError())
        monkeypatch.setattr(observer.leases, "refresh", refresh)
        monkeypatch.setattr(cluster, "write", write)
        with caplog.at_level(logging.ERROR):
            await observer.tick()
        assert {record.message for record in caplog.records} == {
            "leases not renewed",
            "reports not published",
        }
        monkeypatch.undo()
        await observer.tick()
        assert len(cluster.written) == 1
