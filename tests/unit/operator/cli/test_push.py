"""Pushing through a fake cluster: which calls are made, and what the user is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from perennial.cli.answer import Answer
from perennial.cli.archive import Archive
from perennial.cli.errors import StoreError
from perennial.cli.push import push


class FakeStore:
    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.tokens: list[tuple[str, str, str]] = []
        self.puts: list[tuple[str, str, str, bytes, int, dict[str, str]]] = []

    def create_token(self, namespace, service_account, audience) -> str:
        self.tokens.append((namespace, service_account, audience))
        return "a-token"

    def put_through_proxy(self, namespace, service, path, body, *, size_bytes, headers) -> Answer:
        self.puts.append((namespace, service, path, body.read(), size_bytes, dict(headers)))
        return self._answers.pop(0)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    path = tmp_path / "bundle.tar"
    path.write_bytes(b"content")
    return Archive(path, "sha256:" + "a" * 64, 7)


def run(store: FakeStore, archive: Archive) -> tuple[bool, int]:
    sent: list[int] = []
    created = push(store, archive, "perennial-system", sent.append, sleep=lambda _: None)
    return created, sum(sent)


@pytest.mark.parametrize(("status", "created"), [(201, True), (200, False)])
def test_bundle_is_put_under_its_digest_with_the_pushers_token(archive, status, created) -> None:
    store = FakeStore(Answer(status, b""))
    assert run(store, archive) == (created, 7)
    assert store.tokens == [("perennial-system", "perennial-pusher", "perennial-observer")]
    path = f"/v1/bundles/{archive.digest}"
    want = ("perennial-system", "perennial-observer", path, b"content", 7, {"X-Perennial-Token": "a-token"})
    assert store.puts == [want]


def test_busy_store_is_tried_again_from_the_start(archive) -> None:
    store = FakeStore(Answer(503, b""), Answer(429, b""), Answer(201, b""))
    assert run(store, archive) == (True, 7)
    assert [content for _, _, _, content, _, _ in store.puts] == [b"content"] * 3


def test_store_that_stays_busy_is_given_up(archive) -> None:
    store = FakeStore(*[Answer(503, b"")] * 5)
    with pytest.raises(StoreError, match="HTTP 503"):
        run(store, archive)
    assert len(store.puts) == 3


def test_refusal_gives_the_stores_own_sentence_at_once(archive) -> None:
    error = {"error": {"reason": "DigestMismatch", "message": "The content is not that of the digest"}}
    store = FakeStore(Answer(422, json.dumps(error).encode()))
    with pytest.raises(StoreError, match=r"The content is not that of the digest \(DigestMismatch\)"):
        run(store, archive)
    assert len(store.puts) == 1


def test_missing_observer_is_told_from_the_api_servers_answer(archive) -> None:
    status = {"kind": "Status", "code": 404, "message": 'services "perennial-observer" not found'}
    with pytest.raises(StoreError, match="Check that the observer runs"):
        run(FakeStore(Answer(404, json.dumps(status).encode())), archive)
