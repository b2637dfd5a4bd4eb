"""Ask Prometheus for the numbers that metrics of type Prometheus compare with their bounds.

No answer is neither good nor bad: whatever goes wrong is a `Reading` without a value whose reason says what, never an
exception and never a number made up.
"""

import asyncio
import json
import logging
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import aiohttp
from perennial_api.modeldeployment.analysis import Metric, PrometheusMetric

from perennial.rollout.observed import Reading

__all__ = ["Prometheus", "read_answer", "render_query"]

_log = logging.getLogger(__name__)

MOST_BYTES = 256 * 1024
LONGEST_QUOTE = 200
_OK = 200


def render_query(query: str, names: Mapping[str, str]) -> str:
    """Return the query with `{{revision}}` and the like replaced by names; braces of PromQL itself are left alone."""
    for key, name in names.items():
        query = query.replace(f"{{{{{key}}}}}", name)
    return query


class Prometheus:
    """Reads one number per query.

    Parameters
    ----------
    addresses
        Those that may be asked. A ModelDeployment's author must not gain a way to call any address in the cluster.
    timeout_s
        Longest wait for one answer.
    """

    def __init__(self, addresses: Collection[str], *, timeout_s: float = 5.0) -> None:
        self._addresses = frozenset(address.rstrip("/") for address in addresses)
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def observe(self, metrics: Iterable[Metric], names: Mapping[str, str]) -> dict[str, Reading]:
        """Read all metrics of type Prometheus at once, by name.

        Parameters
        ----------
        names
            What stands for revision, stable, namespace and deployment in the queries.
        """
        asked = {metric.name: metric.prometheus for metric in metrics if metric.prometheus is not None}
        answers = await asyncio.gather(*(self._ask(metric, names) for metric in asked.values()))
        return dict(zip(asked, answers, strict=True))

    async def _ask(self, metric: PrometheusMetric, names: Mapping[str, str]) -> Reading:
        if metric.address not in self._addresses:
            text = f"the installation doesn't allow {metric.address}: have it added to operator.prometheus.addresses"
            return Reading(None, "AddressNotAllowed", text)
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout_s))
        query = render_query(metric.query, names)
        url = f"{metric.address}/api/v1/query"
        try:
            # A redirect would lead to an address that nobody has allowed.
            async with self._session.get(url, params={"query": query}, allow_redirects=False) as response:
                body = await _read(response.content)
                return read_answer(response.status, body)
        except TimeoutError:
            return Reading(None, "TimedOut", f"{metric.address} gave no answer in {self._timeout_s:g} s")
        except aiohttp.ClientError as error:
            _log.debug("prometheus unreachable address=%s error=%r", metric.address, error)
            return Reading(None, "Unreachable", f"{metric.address} can't be reached: {_quote(error)}")


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Read up to one byte more than is allowed, in however many pieces it comes."""
    body = b""
    while len(body) <= MOST_BYTES and (more := await content.read(MOST_BYTES + 1 - len(body))):
        body += more
    return body


def read_answer(status: int, body: bytes) -> Reading:
    """Return the number in an answer of `/api/v1/query`, or why there is none."""
    if len(body) > MOST_BYTES:
        text = f"the answer has more than {MOST_BYTES // 1024} KiB: aggregate it to one series"
        return Reading(None, "AnswerTooLarge", text)
    try:
        answer = json.loads(body)
    except ValueError:
        return Reading(None, "BadAnswer", f"no JSON came back (HTTP {status}): is this a Prometheus?")
    if not isinstance(answer, dict):
        return Reading(
            None, "BadAnswer", f"no answer of a query came back (HTTP {status}): is this a Prometheus?"
        )
    if answer.get("status") == "error":
        return Reading(None, "QueryError", f"Prometheus refuses the query: {_quote(answer.get('error'))}")
    if status != _OK or answer.get("status") != "success":
        return Reading(
            None, "BadAnswer", f"no answer of a query came back (HTTP {status}): is this a Prometheus?"
        )
    return _read_data(answer.get("data"))


def _read_data(data: Any) -> Reading:
    match data:
        case {"resultType": "scalar", "result": [_, value]}:
            return _read_number(value)
        case {"resultType": "vector", "result": []}:
            text = "the query returns nothing: correct its labels, or wait until there is something to count"
            return Reading(None, "NoSeries", text)
        case {"resultType": "vector", "result": [{"value": [_, value]}]}:
            return _read_number(value)
        case {"resultType": "vector", "result": [_, _, *_] as series}:
            text = f"the query returns {len(series)} series: aggregate them to one, as by sum()"
            return Reading(None, "SeveralSeries", text)
        case {"resultType": str(kind)} if kind not in {"scalar", "vector"}:
            return Reading(None, "NotANumber", f"the query returns a {_quote(kind)}, not one number")
        case _:
            return Reading(None, "BadAnswer", "the answer has no result that can be read")


def _read_number(text: Any) -> Reading:
    try:
        value = float(text)
    except (TypeError, ValueError, OverflowError):
        return Reading(None, "NotANumber", f"the query returns {_quote(text)}")
    if math.isnan(value):
        return Reading(None, "NotANumber", "the query returns NaN, as 0/0 does: guard the divisor")
    if math.isinf(value):
        return Reading(None, "Infinite", "the query returns an infinite number: guard the divisor")
    return Reading(value)


def _quote(said: object) -> str:
    """Return what the other side said, short enough for a status."""
    return " ".join(str(said).split())[:LONGEST_QUOTE]
