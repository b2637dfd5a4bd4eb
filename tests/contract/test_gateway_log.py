"""The gateway's prediction log and a model server's: who is logged, under which name, and in which form."""

import gzip
import json
from collections import deque

import pytest
from perennial_bundle import sampling
from perennial_gateway.model import RecordedPart, RouteKey
from perennial_gateway.prediction_log.bodies import render_messages
from perennial_gateway.prediction_log.choosing import is_sampled, name_client
from perennial_gateway.prediction_log.exchanges import Exchange
from perennial_observer.ingest.entries import LogBody
from perennial_server.origin import pseudonym


@pytest.mark.parametrize("percent", [1, 33, 99, 100])
def test_both_choose_the_same_predictions(percent):
    ids = [f"prediction-{i}" for i in range(2_000)]
    assert [is_sampled(name, percent) for name in ids] == [sampling.is_sampled(name, percent) for name in ids]


@pytest.mark.parametrize("client", ["ann", "", "größe", "x" * 9_000])
def test_both_give_a_client_the_same_name(client):
    assert name_client(client, "shop/wine") == pseudonym(client, "shop/wine")


def test_the_observer_reads_what_the_gateway_writes():
    def exchange(number: int, shadow: bool) -> Exchange:
        asked = {"inputs": [{"name": "x", "shape": [2, 2], "data": [1, None, "a", True]}]}
        answered = {"outputs": [{"name": "probability", "shape": [2, 2], "data": [0.5, 0.5, 1, 0]}]}
        bodies = json.dumps(asked).encode(), json.dumps(answered).encode()
        return Exchange(
            RouteKey("shop", "wine"), "wine-a", RecordedPart(50), f"p{number}", 1.5, "c", shadow, *bodies
        )

    exchanges = deque([exchange(1, False), exchange(2, False), exchange(3, True)])
    (message,) = render_messages(exchanges).messages
    body = LogBody.model_validate_json(gzip.decompress(message.body))
    assert (body.revision, body.percent, message.exchanges) == ("wine-a", 50, 3)
    live, copies = body.groups
    assert (live.ids, live.times, live.sizes, live.clients) == (["p1", "p2"], [1.5] * 2, [2, 2], ["c", "c"])
    assert live.inputs == {"x.0": [1, "a", 1, "a"], "x.1": [None, True, None, True]}
    assert live.outputs == {"probability": [[0.5, 0.5], [1, 0], [0.5, 0.5], [1, 0]]}
    assert (copies.ids, copies.shadow, live.shadow) == (["p3"], True, False)
