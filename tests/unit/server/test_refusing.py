import asyncio
from functools import partial

import orjson
import pytest
import uvicorn
from perennial_server.errors import TooBusy
from perennial_server.metrics import Metrics
from perennial_server.rest.pacing import Pacer
from perennial_server.rest.refusing import RefusingProtocol
from uvicorn.server import ServerState


class Door:
    """Says whether somebody may come in."""

    def __init__(self):
        self.refusal = None

    def __call__(self):
        return self.refusal


async def echo(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
    )
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def door():
    return Door()


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def pacer(door):
    return Pacer(1e9, 1.0, lambda: door.refusal is not None)


@pytest.fixture
async def state():
    return ServerState()


@pytest.fixture
async def connection(door, pacer, metrics, state):
    config = uvicorn.Config(echo, ws="none", lifespan="off", access_log=False)
    make = partial(
        RefusingProtocol, door, pacer, "wine-1", metrics, config=config, server_state=state, app_state={}
    )
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    yield reader, writer
    writer.close()
    server.close()


async def read_answer(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def render(path=b"/v2/models/wine/infer", body=b"{}", *headers):
    lines = [b"POST %b HTTP/1.1" % path, b"host: x", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def test_refused_prediction_is_told_when_to_come_back_and_may_on_the_same_connection(
    connection, door, metrics
):
    reader, writer = connection
    door.refusal = TooBusy("too many", 7)
    writer.write(render(b"/v2/models/wine/infer", b"x" * 1000, b"x-prediction-id: mine"))
    status, headers, body = await read_answer(reader)
    assert (status, orjson.loads(body)) == (429, {"error": "too many"})
    assert headers["retry-after"] == "7"
    assert (headers["x-model-revision"], headers["x-prediction-id"]) == ("wine-1", "mine")
    assert "connection" not in headers
    door.refusal = None
    writer.write(render(body=b"again"))
    status, _, body = await read_answer(reader)
    assert (status, body) == (200, b"again")
    assert b'perennial_server_requests_total{code="429"} 1.0' in metrics.render()


async def test_a_body_that_comes_after_its_refusal_is_read_over(connection, door):
    reader, writer = connection
    door.refusal = TooBusy("too many", 1)
    request = render(body=b"x" * 100)
    writer.write(request[:-60])
    assert (await read_answer(reader))[0] == 429
    door.refusal = None
    writer.write(request[-60:] + render(body=b"next"))
    status, _, body = await read_answer(reader)
    assert (status, body) == (200, b"next")


@pytest.mark.parametrize("why", ["a large body", "HTTP's close", "a drain"])
async def test_who_is_not_to_come_again_is_cut_off(connection, door, state, why):
    reader, writer = connection
    door.refusal = TooBusy("too many", 1)
    headers = [b"connection: close"] if why == "HTTP's close" else []
    if why == "a drain":
        state.default_headers.append((b"connection", b"close"))
    request = render(b"/v2/models/wine/infer", b"", *headers)
    if why == "a large body":
        request = request.replace(b"content-length: 0", b"content-length: 10000000")
    writer.write(request)
    status, got, _ = await read_answer(reader)
    assert (status, got["connection"]) == (429, "close")
    assert await reader.read() == b""


async def test_only_predictions_are_refused(connection, door):
    reader, writer = connection
    door.refusal = TooBusy("too many", 1)
    writer.write(render(b"/v2/models/wine/explain", b"why"))
    assert (await read_answer(reader))[0] == 200
    writer.write(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await read_answer(reader))[0] == 200


async def test_a_refused_connection_is_read_again_when_nobody_is_refused_any_more(connection, door, pacer):
    reader, writer = connection
    pacer.__init__(0.001, 1000.0, lambda: door.refusal is not None)
    door.refusal = TooBusy("too many", 1)
    for _ in range(2):  # the first comes before any turn
        writer.write(render())
        assert (await read_answer(reader))[0] == 429
    writer.write(render(body=b"later"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await reader.readuntil(b"\r\n\r\n")
    assert len(pacer) == 1
    door.refusal = None
    async with asyncio.timeout(10):
        assert (await read_answer(reader))[2] == b"later"
    assert len(pacer) == 0


async def test_a_held_connection_may_go(connection, door, pacer):
    reader, writer = connection
    pacer.__init__(0.001, 1000.0, lambda: door.refusal is not None)
    door.refusal = TooBusy("too many", 1)
    for _ in range(2):
        writer.write(render())
        assert (await read_answer(reader))[0] == 429
    assert len(pacer) == 1
    writer.close()
    await writer.wait_closed()
    door.refusal = None
    async with asyncio.timeout(10):
        while len(pacer):  # noqa: ASYNC110  a timer of the pacer's makes it true
            await asyncio.sleep(0.01)
