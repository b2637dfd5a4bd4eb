"""What the gateway's pods are asked, and what is made of their answers."""

from __future__ import annotations

import json

from perennial.cli.answer import Answer
from perennial.cli.errors import ClusterError, NotAllowedError
from perennial.cli.routers import read_routers

from tests.unit.operator.cli.objects import FakeCluster, pod_body


def _status(generation: int) -> Answer:
    body = {
        "routes": {"shop/wine": {"state": "Applied", "generation": generation}},
        "counters": {
            "shop/wine-a": {"requests": 12},
            "shop/winery-a": {"requests": 3},
            "x/wine-a": {"requests": 4},
        },
    }
    return Answer(200, json.dumps(body).encode())


def test_every_router_says_what_it_has_applied_and_counted() -> None:
    cluster = FakeCluster()
    cluster.pods = [pod_body("gw-2", ready=False), pod_body("gw-1")]
    cluster.agents = {"gw-1": _status(4), "gw-2": Answer(503, b"no")}
    one, two = read_routers(cluster, "perennial-system", "shop", "wine") or []
    assert (one.pod, one.ready, one.state, one.generation, one.requests) == (
        "gw-1",
        True,
        "Applied",
        4,
        {"wine-a": 12},
    )
    assert (two.pod, two.ready, two.state, two.message) == (
        "gw-2",
        False,
        "Unknown",
        "Its agent answered HTTP 503.",
    )


def test_router_that_cannot_be_reached_does_not_hide_the_others() -> None:
    cluster = FakeCluster()
    cluster.pods = [pod_body("gw-1"), pod_body("gw-2")]

    def ask(namespace, pod, port, path):
        if pod == "gw-1":
            raise ClusterError("Could not reach it.")
        return _status(4)

    cluster.get_through_proxy = ask
    one, two = read_routers(cluster, "perennial-system", "shop", "wine") or []
    assert (one.state, one.message) == ("Unknown", "Could not reach it.")
    assert two.state == "Applied"


def test_without_the_right_there_are_no_routers_to_show() -> None:
    cluster = FakeCluster()
    cluster.pods = None
    assert read_routers(cluster, "perennial-system", "shop", "wine") is None
    cluster.pods = [pod_body("gw-1")]
    cluster.agents = {"gw-1": Answer(403, b"{}")}
    assert read_routers(cluster, "perennial-system", "shop", "wine") is None

    def refuse(*_):
        raise NotAllowedError("no")

    cluster.get_through_proxy = refuse
    assert read_routers(cluster, "perennial-system", "shop", "wine") is None
