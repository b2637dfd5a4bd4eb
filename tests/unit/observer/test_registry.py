"""What is missing in the registry doesn't exist, if the API server has answered lately; else nobody knows."""

from types import SimpleNamespace

import orjson
import pytest
from perennial_observer.cluster import deployments
from perennial_observer.cluster.deployments import DeploymentWatch
from perennial_observer.registry import CURRENT_S, Registry

from tests.unit.observer.webhook_notes import KEY, deployment


class Steady:
    """A clock that stands until it is put forward."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_gone_before_the_first_list_nor_what_exists_and_cannot_be_read():
    registry = Registry(monotonic=Steady())
    assert not registry.is_gone(KEY.uid)
    registry.replace([deployment()], unread=["uid-2"])
    assert [registry.is_gone(uid) for uid in (KEY.uid, "uid-2", "uid-3")] == [False, False, True]


def test_nothing_is_gone_while_the_api_server_is_silent():
    """Another observer may have begun to judge what was created since."""
    clock = Steady()
    registry = Registry(monotonic=clock)
    registry.replace([])
    clock.now += CURRENT_S
    assert (registry.is_gone(KEY.uid), registry.is_current, registry.synced) == (False, False, True)
    registry.hear()
    assert registry.is_gone(KEY.uid)


@pytest.mark.parametrize(("event", "want"), [("BOOKMARK", True), ("ERROR", False)])
async def test_whatever_the_watch_says_but_an_error_keeps_the_registry_current(monkeypatch, event, want):
    clock, asked = Steady(), {}
    registry = Registry(monotonic=clock)

    class Content:
        async def iter_any(self):
            clock.now += CURRENT_S
            yield orjson.dumps({"type": event, "object": {"metadata": {"resourceVersion": "2"}}}) + b"\n"

    class Custom:
        def __init__(self, _) -> None: ...

        async def list_cluster_custom_object(self, *_, **__):
            return {"metadata": {"resourceVersion": "1"}, "items": []}

        async def list_cluster_custom_object_without_preload_content(self, *_, **parameters):
            asked.update(parameters)
            return SimpleNamespace(status=200, content=Content(), close=lambda: None)

    monkeypatch.setattr(deployments.client, "CustomObjectsApi", Custom)
    watch = DeploymentWatch(None, registry, 1.0)
    if want:
        await watch._list_and_watch()
    else:
        with pytest.raises(deployments.client.ApiException):
            await watch._list_and_watch()
    assert (registry.is_current, asked["allow_watch_bookmarks"]) == (want, True)
