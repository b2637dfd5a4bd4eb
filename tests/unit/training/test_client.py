import httpx
import pytest
from perennial_training.client import ObserverClient
from perennial_training.errors import InvalidData, ObserverRefused, ObserverUnavailable


def client_for(handler, tmp_path, *, attempts=3, max_download_bytes=1000):
    token = tmp_path / "token"
    token.write_text("first\n")
    waits = []
    http = httpx.Client(base_url="http://observer", transport=httpx.MockTransport(handler))
    client = ObserverClient(
        http, token, attempts=attempts, max_download_bytes=max_download_bytes, sleep=waits.append
    )
    return client, token, waits


def test_passing_failures_are_retried_with_growing_waits(tmp_path):
    answers = iter([httpx.Response(503), httpx.Response(429), httpx.Response(200, json={"watermark": 5})])
    client, _, waits = client_for(lambda _: next(answers), tmp_path)
    assert client.watermark() == 5.0
    assert len(waits) == 2
    assert waits[1] > waits[0] * 0.99


def test_retries_are_limited(tmp_path):
    calls = []

    def handler(request):
        calls.append(request)
        raise httpx.ConnectError("refused")

    client, _, _ = client_for(handler, tmp_path)
    with pytest.raises(ObserverUnavailable, match="refused"):
        client.export(0, 1)
    assert len(calls) == 3


def test_a_refusal_is_not_retried(tmp_path):
    calls = []

    def handler(request):
        calls.append(request)
        return httpx.Response(
            403, json={"error": {"reason": "Forbidden", "message": "role Server may not export"}}
        )

    client, _, _ = client_for(handler, tmp_path)
    with pytest.raises(ObserverRefused, match="role Server may not export"):
        client.export(0, 1)
    assert len(calls) == 1


def test_the_token_is_read_anew_for_every_call(tmp_path):
    seen = []

    def handler(request):
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={"watermark": None})

    client, token, _ = client_for(handler, tmp_path)
    client.watermark()
    token.write_text("second\n")
    client.watermark()
    assert seen == ["Bearer first", "Bearer second"]


def test_a_body_beyond_the_bound_is_refused(tmp_path):
    client, _, _ = client_for(lambda _: httpx.Response(200, content=b"x" * 1001), tmp_path)
    with pytest.raises(InvalidData, match="larger than 1000 bytes"):
        client.blob("sha256:" + "0" * 64)


def test_an_empty_log_has_no_watermark(tmp_path):
    client, _, _ = client_for(lambda _: httpx.Response(200, json={"watermark": None}), tmp_path)
    assert client.watermark() is None
