"""Counting the clients of sticky routes."""

from __future__ import annotations

import asyncio

import pytest
from perennial_gateway import clients
from perennial_gateway.clients import ClientCounter, ClientCounts
from perennial_gateway.model import Stickiness
from perennial_gateway.otlp import Record

from tests.unit.gateway.builders import backend, route

A, B = "shop/wine-a", "shop/wine-b"


@pytest.fixture
def counter(tmp_path) -> ClientCounter:
    counter = ClientCounter(tmp_path / "clients.json", 100)
    follow(counter, "s1")
    return counter


def follow(counter: ClientCounter, salt: str | None, *revisions: str) -> None:
    backends = [
        backend(name, 100 if i == 0 else 0) for i, name in enumerate(revisions or ("wine-b", "wine-a"))
    ]
    sticky = Stickiness("x-user", salt) if salt else None
    wine = route("wine", *backends, sticky=sticky)
    counter.follow({wine.key: wine})


def add(counter: ClientCounter, *clients: str, cluster: str = A, salt: str = "s1", status: int = 200) -> None:
    for client in clients:
        counter.add(record(cluster=cluster, client=client, salt=salt, status=str(status)))


def record(**attributes: str) -> Record:
    """Build what Envoy tells of a request."""
    return Record(0.0, {name: value.encode() for name, value in attributes.items()})


def test_client_counts_once_however_often_it_comes_and_fails(counter) -> None:
    add(counter, "u1", "u2", "u1", "u1")
    add(counter, "u2", "u2", "u3", status=503)
    assert counter.counts() == {A: ClientCounts(3, 2), B: ClientCounts()}


def test_refusals_fail_nobody_and_requests_without_answer_count_nobody(counter) -> None:
    add(counter, "u1", status=422)
    add(counter, "u2", status=0)
    assert counter.counts()[A] == ClientCounts(1, 0)


@pytest.mark.parametrize(
    ("fields", "failing"),
    [
        ({"grpc": "13"}, 1),
        ({"grpc_only": "14"}, 1),
        ({"grpc": "3"}, 0),
        ({"grpc": "0"}, 0),
        ({"grpc": "-"}, 0),
        ({"grpc": "4", "from": "via_upstream", "deadline": "60000m", "timeout_ms": "60000"}, 1),
        ({"grpc_only": "4", "from": "response_timeout", "deadline": "90S", "timeout_ms": "60000"}, 1),
        # A client may set a deadline as short as it likes.
        ({"grpc_only": "4", "from": "via_upstream", "deadline": "1m", "timeout_ms": "60000"}, 0),
    ],
)
def test_a_grpc_failure_fails_its_client_whose_http_status_hides_it(counter, fields, failing) -> None:
    counter.add(record(cluster=f"{A}/grpc", client="u1", salt="s1", status="200", **fields))
    assert counter.counts() == {A: ClientCounts(1, failing), B: ClientCounts()}


def test_another_salt_starts_at_zero_and_what_was_under_way_counts_no_more(counter) -> None:
    add(counter, "u1", "u2")
    follow(counter, "s2")
    add(counter, "u1")
    assert counter.counts()[A] == ClientCounts()
    add(counter, "u1", salt="s2")
    assert counter.counts()[A] == ClientCounts(1, 0)


def test_revision_that_joins_or_leaves_disturbs_no_other(counter) -> None:
    add(counter, "u1")
    add(counter, "u2", cluster=B)
    follow(counter, "s1", "wine-a", "wine-c")
    assert counter.counts() == {A: ClientCounts(1, 0), "shop/wine-c": ClientCounts()}


def test_route_that_is_not_sticky_counts_nobody(counter) -> None:
    add(counter, "u1")
    follow(counter, None)
    add(counter, "u1")
    assert counter.counts() == {}


def test_beyond_the_limit_clients_are_dropped_and_known_ones_still_counted(counter) -> None:
    add(counter, *(f"u{i}" for i in range(150)))
    assert (counter.counts()[A].users, counter.dropped) == (100, 50)
    add(counter, "u0", status=500)
    assert counter.counts()[A].failing == 1
    follow(counter, "s2")
    add(counter, "u1", salt="s2")
    assert counter.counts()[A].users == 1


@pytest.mark.parametrize("told", [{}, {"cluster": A}, {"cluster": A, "salt": "s1", "status": "-"}])
def test_record_that_says_too_little_is_ignored(counter, told) -> None:
    counter.add(record(**told))
    assert counter.taken == 1
    assert counter.counts()[A] == ClientCounts()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"shop/wine-a": {}}', b'{"shop/wine-a": 1}', b"\xff"])
def test_damaged_counts_are_none(tmp_path, content) -> None:
    path = tmp_path / "clients.json"
    path.write_bytes(content)
    assert ClientCounter(path, 10).counts() == {}


async def test_counts_are_saved_when_the_agent_is_told_to_stop(counter, tmp_path) -> None:
    running = asyncio.create_task(counter.run(tmp_path / "clients.sock"))
    while not (tmp_path / "clients.sock").exists():
        assert not running.done()
        await asyncio.sleep(0)
    _, writer = await asyncio.open_unix_connection(tmp_path / "clients.sock")
    add(counter, "u1")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    writer.close()
    again = ClientCounter(tmp_path / "clients.json", 100)
    assert again.counts()[A] == ClientCounts(1, 0)


async def test_counts_that_can_not_be_saved_end_nothing(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(clients, "SAVE_EVERY_S", 0)
    counter = ClientCounter(tmp_path / "absent" / "clients.json", 100)
    follow(counter, "s1")
    add(counter, "u1")
    running = asyncio.create_task(counter.run(tmp_path / "clients.sock"))
    while caplog.text.count("not saved") < 2:
        assert not running.done()
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert counter.counts()[A] == ClientCounts(1, 0)


def test_saved_counts_hold_no_clients_name(counter, tmp_path) -> None:
    add(counter, "anna@example.org", "ben@example.org")
    add(counter, "ben@example.org", status=500)
    saved = counter._dump()
    assert b"example" not in saved
    (tmp_path / "clients.json").write_bytes(saved)
    again = ClientCounter(tmp_path / "clients.json", 100)
    follow(again, "s1")
    add(again, "anna@example.org")
    assert again.counts()[A] == ClientCounts(2, 1)
