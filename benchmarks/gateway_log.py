"""What it costs that the gateway logs for servers that keep no log: requests/s, latency, CPU of Envoy and of the agent.

`python -m benchmarks.gateway_log` starts a real Envoy with the router agent, a model server that answers without thinking,
an observer that takes everything, and a client that asks as fast as it is answered, over the columns and connections asked
for. The three ways are measured in turn, so that whatever else the machine does meets all of them.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from typing import cast

from aiohttp import web
from perennial_gateway.model import Backend, Endpoint, RecordedPart

from benchmarks.serving.client import Load, Tally, build_request, measure
from benchmarks.serving.processes import cpu_s
from tests.integration.gateway.harness import GatewayPod, free_port, route

WAYS = {"not logged": None, "10 % logged": RecordedPart(percent=10), "all logged": RecordedPart()}
PATH = "/shop/wine/v2/models/wine/infer"


def build_question(columns: int) -> bytes:
    """One row of numbers."""
    tensors = [
        {"name": f"feature_{i}", "shape": [1], "datatype": "FP64", "data": [i / 7]} for i in range(columns)
    ]
    return json.dumps({"inputs": tensors}).encode()


class Model(asyncio.Protocol):
    """Takes every piece of bytes for a request, which holds for requests of one row."""

    TENSORS = (
        {"name": "predict", "shape": [1], "datatype": "INT64", "data": [1]},
        {"name": "probability", "shape": [1, 2], "datatype": "FP64", "data": [0.25, 0.75]},
    )
    BODY = json.dumps({"model_name": "wine", "outputs": TENSORS}).encode()
    HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002
        self._transport.write(self.HEAD.encode() + self.BODY)


async def _serve(model_port: int, observer_port: int) -> None:
    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({}, status=202)

    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", observer_port).start()
    server = await asyncio.get_running_loop().create_server(Model, "127.0.0.1", model_port)
    await server.serve_forever()


def serve(model_port: int, observer_port: int) -> None:
    """Be the model server and the observer."""
    asyncio.run(_serve(model_port, observer_port))


def read_own_cpu_s() -> float:
    """Return the agent's: it runs in this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def main(columns: int, connections: int, seconds: float, rounds: int) -> None:
    """Measure every way so many times, and print a line for each."""
    model_port, observer_port = free_port(), free_port()
    servers = multiprocessing.get_context("spawn").Process(
        target=serve, args=(model_port, observer_port), daemon=True
    )
    servers.start()
    tallies: dict[str, list[tuple[Tally, float, float]]] = {way: [] for way in WAYS}
    question = build_question(columns)
    load = Load(connections, 0.5, seconds)
    loop = asyncio.get_running_loop()
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            async with GatewayPod(observer_port, log_interval_s=1.0) as pod:
                assert pod.envoy is not None, "the pod has started Envoy"
                for turn in range(rounds * len(WAYS)):
                    way = list(WAYS)[turn % len(WAYS)]
                    backend = Backend("wine-a", 100, (Endpoint("127.0.0.1", model_port),), log=WAYS[way])
                    await pod.apply(route("wine", backend, generation=turn + 1))
                    # What the turn before has left is its own.
                    await pod.until(lambda: pod.collector.queue_bytes == 0, "the log is sent")
                    envoy_before_s, own_s, started = (
                        cpu_s(pod.envoy.pid),
                        read_own_cpu_s(),
                        time.perf_counter(),
                    )
                    port, requests = pod.envoy_settings.listen_port, [build_request(PATH, question)]
                    tally = await loop.run_in_executor(pool, measure, port, requests, load)
                    share = tally.seconds / (time.perf_counter() - started)
                    envoy_s = (cpu_s(pod.envoy.pid) - envoy_before_s) * share
                    agent_s = (read_own_cpu_s() - own_s) * share
                    tallies[way].append((tally, envoy_s, agent_s))
                async with pod.client.get(f"{pod.agent_url}/metrics") as response:
                    lines = (await response.text()).splitlines()
    finally:
        servers.terminate()
    print(f"{len(question)} bytes asked, {len(Model.BODY)} answered, {connections} connections")
    for way, measured in tallies.items():
        print(report(way, measured))
    print("\n".join(line for line in lines if line.startswith("perennial_router_log")))


def report(way: str, measured: list[tuple[Tally, float, float]]) -> str:
    """Return one line: medians over the rounds."""
    return (
        f"{way:<12} {statistics.median(t.per_second for t, _, _ in measured):,.0f} requests/s, "
        f"median {statistics.median(t.latency_ms(0.5) for t, _, _ in measured):.2f} ms, "
        f"p99 {statistics.median(t.latency_ms(0.99) for t, _, _ in measured):.2f} ms, "
        f"Envoy {statistics.median(1e6 * e / len(t.latencies_s) for t, e, _ in measured):.0f} µs, "
        f"agent {statistics.median(1e6 * a / len(t.latencies_s) for t, _, a in measured):.0f} µs of CPU"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--columns", type=int, default=20)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    asyncio.run(main(options.columns, options.connections, options.seconds, options.rounds))
