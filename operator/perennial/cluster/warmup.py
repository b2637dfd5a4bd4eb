"""Send a revision's own sample to its pods and take the time. The model servers' log leaves these requests out."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
from perennial_api.labels import LABEL_REVISION

from perennial.cluster.client import Client
from perennial.errors import UnavailableError
from perennial.rollout.warmup import Measurement, WarmUpPlan

__all__ = ["NoSampleError", "Prober", "find_pod_addresses", "measure", "measure_apart"]

# A model server keeps requests with it out of the prediction log, as long as no gateway has numbered them.
PROBE_HEADERS = {"x-perennial-probe": "true"}
MOST_SAMPLE_BYTES = 1024 * 1024
MOST_ANSWER_BYTES = 16 * 1024 * 1024

_OK, _NOT_FOUND, _BAD = 200, 404, 300


class NoSampleError(Exception):
    """The server has no sample to give, so its latency can't be measured."""


@dataclass(slots=True)
class _Tally:
    latencies_ms: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""

    def fail(self, error: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or error


async def find_pod_addresses(client: Client, namespace: str, revision: str, port: int) -> list[str]:
    """Return `host:port` of the revision's pods that are ready."""
    found = []
    for pod in await client.list("Pod", namespace, f"{LABEL_REVISION}={revision}"):
        status = pod.get("status") or {}
        conditions = {c["type"]: c["status"] for c in status.get("conditions") or []}
        address = status.get("podIP", "")
        if address and conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
            found.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    return sorted(found)


class Prober:
    """Finds a revision's pods and measures them.

    Parameters
    ----------
    plan
        How much is sent.
    """

    def __init__(self, client: Client, plan: WarmUpPlan) -> None:
        self._client = client
        self._plan = plan

    async def measure(self, namespace: str, model: str, revision: str, port: int) -> Measurement:
        """Measure the pods of a revision that are ready now; see `measure` for what it raises."""
        addresses = await find_pod_addresses(self._client, namespace, revision, port)
        return await measure_apart(addresses, model, self._plan)


async def measure_apart(addresses: Sequence[str], model: str, plan: WarmUpPlan) -> Measurement:
    """Measure in a thread with a loop of its own: what the operator's own loop does must not count as latency."""
    return await asyncio.to_thread(lambda: asyncio.run(measure(addresses, model, plan)))


async def measure(addresses: Sequence[str], model: str, plan: WarmUpPlan) -> Measurement:
    """Send a revision's sample to all of its pods in turn, a few at a time.

    Raises
    ------
    NoSampleError
        If the server has none.
    UnavailableError
        If no pod can be reached.
    """
    if not addresses:
        raise UnavailableError("no pod of the revision is ready")
    timeout = aiohttp.ClientTimeout(total=plan.timeout_s)
    connector = aiohttp.TCPConnector(limit=plan.in_flight)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        sample = await _fetch_sample(session, addresses)
        urls = itertools.cycle([f"http://{address}/v2/models/{model}/infer" for address in addresses])
        await _send_all(session, sample, itertools.islice(urls, plan.unmeasured), plan)
        tally = await _send_all(session, sample, itertools.islice(urls, plan.requests), plan)
    return Measurement(tuple(tally.latencies_ms), tally.errors, tally.first_error)


async def _fetch_sample(session: aiohttp.ClientSession, addresses: Sequence[str]) -> bytes:
    """Ask one pod after another: a pod that goes away just now has others beside it."""
    said = ""
    for address in addresses:
        try:
            async with session.get(
                f"http://{address}/sample", headers=PROBE_HEADERS, allow_redirects=False
            ) as response:
                body = await _read(response, MOST_SAMPLE_BYTES)
        except (aiohttp.ClientError, TimeoutError) as error:
            said = f"{address}: {error or 'timed out'}"
            continue
        if response.status == _OK and body is not None:
            return body
        if response.status == _NOT_FOUND:
            raise NoSampleError("its server has no sample request to measure with (GET /sample answers 404).")
        if response.status == _OK:
            raise NoSampleError(f"its sample request is larger than {MOST_SAMPLE_BYTES} bytes.")
        said = f"{address}: GET /sample answers {response.status}"
    raise UnavailableError(said)


async def _send_all(
    session: aiohttp.ClientSession, sample: bytes, urls: "itertools.islice[str]", plan: WarmUpPlan
) -> _Tally:
    """Have a few workers share the requests, until there are no more or the time is over."""
    tally = _Tally()
    deadline = time.monotonic() + plan.duration_s

    async def work() -> None:
        for url in urls:
            if time.monotonic() >= deadline:
                return
            await _send(session, sample, url, tally)

    await asyncio.gather(*(work() for _ in range(plan.in_flight)))
    return tally


async def _send(session: aiohttp.ClientSession, sample: bytes, url: str, tally: _Tally) -> None:
    headers = {**PROBE_HEADERS, "content-type": "application/json"}
    started = time.perf_counter()
    try:
        async with session.post(url, data=sample, headers=headers, allow_redirects=False) as response:
            body = await _read(response, MOST_ANSWER_BYTES)
    except (aiohttp.ClientError, TimeoutError) as error:
        tally.fail(str(error) or "timed out")
        return
    latency_ms = (time.perf_counter() - started) * 1000
    if response.status >= _BAD:
        tally.fail(f"HTTP {response.status}")
    elif body is None:
        tally.fail(f"the answer is larger than {MOST_ANSWER_BYTES} bytes")
    else:
        tally.latencies_ms.append(latency_ms)


async def _read(response: aiohttp.ClientResponse, most_bytes: int) -> bytes | None:
    """Read a body to its end, or return None for one that is too large."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > most_bytes:
            response.close()
            return None
    return bytes(body)
