"""The JSON API over what monitors found: pages, one window with its explanation, and who may read it."""

import pytest

from .test_webhooks import Clock, Rows, watch

BASE = "/v1/deployments/shop/wine/monitors"


async def get(running, path: str, status: int = 200, token: str = "server") -> dict:
    got = await running.client.get(path, headers={"Authorization": f"Bearer {token}"})
    assert got.status_code == status, got.text
    return got.json()


async def test_people_read_the_latest_verdicts_the_windows_before_and_why_one_breached(settings, cluster):
    async with watch(settings, cluster, Clock()) as running:
        assert (await get(running, f"{BASE}/accuracy/windows"))["windows"] == []
        rows = Rows(running)
        for right in (True, True, False, False):
            await rows.send(right=right)
        (verdict,) = (await get(running, BASE))["monitors"]
        assert (verdict["name"], verdict["state"], verdict["severity"]) == ("accuracy", "Alarm", "Page")
        assert "moved most: sugar" in verdict["explanation"]

        page = await get(running, f"{BASE}/accuracy/windows", token="trainer")
        assert [window["state"] for window in page["windows"]] == ["Alarm", "Alarm", "Ok", "Ok"]
        assert [window["statistic"] for window in page["windows"]] == [0.0, 0.0, 1.0, 1.0]
        assert page["windows"][0]["breachId"] == verdict["breachId"]
        assert page["windows"][-1]["windowStart"] == "1970-01-01T00:00:00Z"
        assert page["next"] is None

        address = f"{BASE}/accuracy/windows/{page['windows'][0]['id']}"
        found = (await get(running, address))["explanation"]
        assert found["started"] == 200.0
        (histogram,) = found["histograms"]
        assert (histogram["labels"], histogram["reference"], histogram["window"]) == (
            ["0", "1"],
            [1.0, 0.0],
            [0.0, 1.0],
        )
        quiet = await get(running, f"{BASE}/accuracy/windows/{page['windows'][-1]['id']}")
        assert quiet["explanation"] is None


async def test_pages_follow_each_other_without_a_gap(settings, cluster):
    async with watch(settings, cluster, Clock()) as running:
        rows = Rows(running)
        for _ in range(5):
            await rows.send(right=True)
        seen, path = [], f"{BASE}/accuracy/windows?limit=2"
        page = await get(running, path)
        while True:
            seen += [window["id"] for window in page["windows"]]
            if page["next"] is None:
                break
            page = await get(running, f"{path}&before={page['next']}")
        assert seen == sorted(seen, reverse=True)
        assert len(seen) == 5
        late = await get(running, f"{BASE}/accuracy/windows?since=350")
        assert len(late["windows"]) == 2


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=-1",
        "before=0",
        "before=1e3",
        "since=nan",
        "since=yesterday",
    ],
)
async def test_a_parameter_that_makes_no_sense_is_named(settings, cluster, query):
    async with watch(settings, cluster, Clock()) as running:
        got = await get(running, f"{BASE}/accuracy/windows?{query}", 400)
        assert query.partition("=")[0] in got["error"]["message"]


@pytest.mark.parametrize("number", ["999999", "x", "-1", "9" * 40])
async def test_a_window_that_is_not_there_is_not_found(settings, cluster, number):
    async with watch(settings, cluster, Clock()) as running:
        await Rows(running).send(right=True)
        await get(running, f"{BASE}/accuracy/windows/{number}", 404)
        (window,) = (await get(running, f"{BASE}/accuracy/windows"))["windows"]
        await get(running, f"{BASE}/other/windows/{window['id']}", 404)


async def test_nobody_reads_another_deployments_monitors(settings, cluster):
    async with watch(settings, cluster, Clock()) as running:
        for path in (BASE, f"{BASE}/accuracy/windows", f"{BASE}/accuracy/windows/1"):
            await get(running, path, 403, token="other-server")
            await get(running, path, 403, token="pusher")
            await get(running, path, 401, token="nobody")
            assert (await running.client.get(path)).status_code == 401


async def test_an_explanation_that_fails_harms_no_verdict(settings, cluster, monkeypatch):
    def fail(*_):
        raise RuntimeError("no explanation today")

    monkeypatch.setattr("perennial_observer.explaining.explainer.explain", fail)
    async with watch(settings, cluster, Clock()) as running:
        await Rows(running).send(right=False)
        (verdict,) = (await get(running, BASE))["monitors"]
        assert (verdict["state"], verdict.get("explanation", "")) == ("Alarm", "")
        (window,) = (await get(running, f"{BASE}/accuracy/windows"))["windows"]
        assert (await get(running, f"{BASE}/accuracy/windows/{window['id']}"))["explanation"] is None
