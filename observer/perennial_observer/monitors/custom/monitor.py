"""The Custom monitor: a number of the user's own for each window, asked for beside the looks.

A look never waits for it: a function that hangs would hold up every other monitor. The first look that sees a window
asks, a later one finds the answer. What is asked is only in memory; after a restart it is asked again.
"""

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
from perennial_api.modeldeployment.monitoring import Custom
from perennial_bundle.reference import EVENT_TIME, LABEL, OUTPUT_PREFIX

from perennial_observer.monitors.alarms.verdicts import Assessment
from perennial_observer.monitors.custom.call import Answer, call_function, call_url
from perennial_observer.store.references import StoredReference
from perennial_observer.store.rows import LoggedRow

__all__ = [
    "Asked",
    "CustomCalls",
    "CustomLimits",
    "NotYetJudged",
    "assess_answer",
    "build_columns",
    "build_reference_columns",
    "is_allowed_function",
    "is_allowed_url",
]

AT_ONCE = 2
MAX_SENT_BYTES = 64 << 20
MAX_KEPT = 1_000


class NotYetJudged(Exception):
    """The window is being judged; a later look finds the verdict."""


@dataclass(frozen=True)
class CustomLimits:
    """What the installation allows; nothing unless it is said.

    Parameters
    ----------
    urls
        Addresses, each with all that is below it.
    modules
        Python packages, each with all that is below it.
    memory_bytes
        Largest data of one function's process.
    """

    urls: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    memory_bytes: int = 512 << 20


@dataclass(frozen=True)
class Asked:
    """A window that is asked about.

    Parameters
    ----------
    about
        Names of what it belongs to, for an endpoint that serves several.
    reference
        By column; no columns where there is no reference.
    """

    about: Mapping[str, str]
    rows: Sequence[LoggedRow]
    reference: StoredReference | None


@dataclass
class CustomCalls:
    """Asks at most two at once; a monitor that finds no room comes again, and is served in the order of coming.

    Without that order two functions that hang would be asked about their next window as soon as they are ended, in the
    look in which the others, after them in the registry, find no room again.
    """

    limits: CustomLimits = CustomLimits()
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(AT_ONCE, thread_name_prefix="custom")
    )
    _waiting: dict[Hashable, tuple[Hashable, "Future[Answer]"]] = field(default_factory=dict)
    # Who found no room, the first to come first, and who of them still asks in this look.
    _queue: list[Hashable] = field(default_factory=list)
    _came: set[Hashable] = field(default_factory=set)

    def ask(self, monitor: Hashable, spec: Custom, asked: Asked) -> Answer:
        """Return the answer about a window.

        Parameters
        ----------
        monitor
            Whose window it is; each monitor asks about one at a time.

        Raises
        ------
        NotYetJudged
            Until it is there.
        """
        refused = self._refuse(spec)
        if refused is not None:
            return refused
        window = (asked.rows[0].id, asked.rows[-1].id, len(asked.rows), spec.model_dump_json())
        before, future = self._waiting.get(monitor, (None, None))
        if future is not None and future.done():
            del self._waiting[monitor]
            if before == window:
                return future.result()
            future = None
        if future is None and self._has_turn(monitor):
            limits = self.limits
            self._waiting[monitor] = (window, self._pool.submit(lambda: _ask(spec, asked, limits)))
        raise NotYetJudged

    def end_look(self) -> None:
        """Take note that all monitors have had their turn: who came no more keeps nobody waiting."""
        self._queue = [monitor for monitor in self._queue if monitor in self._came]
        self._came.clear()

    def _has_turn(self, monitor: Hashable) -> bool:
        """Whether there is room beside those that came before, and queue if there is none."""
        if monitor not in self._queue:
            self._queue.append(monitor)
        self._came.add(monitor)
        if self._queue.index(monitor) >= self._count_free():
            return False
        self._queue.remove(monitor)
        return True

    def _count_free(self) -> int:
        self._waiting = {
            monitor: (window, future)
            for monitor, (window, future) in self._waiting.items()
            # Of a monitor that is gone nobody fetches the answer; one that is asked again costs little.
            if not future.done() or len(self._waiting) < MAX_KEPT
        }
        return AT_ONCE - sum(not future.done() for _, future in self._waiting.values())

    def _refuse(self, spec: Custom) -> Answer | None:
        if spec.url is not None and not is_allowed_url(spec.url, self.limits.urls):
            text = f"the installation doesn't allow {spec.url}: have it added to observer.customUrls"
            return Answer(None, "AddressNotAllowed", text)
        if spec.entry_point is not None and not is_allowed_function(spec.entry_point, self.limits.modules):
            text = f"the installation doesn't allow {spec.entry_point}: have its package added to observer.customModules"
            return Answer(None, "ModuleNotAllowed", text)
        return None


def _ask(spec: Custom, asked: Asked, limits: CustomLimits) -> Answer:
    """Call whoever computes the number; runs in a thread of the pool."""
    window = build_columns(asked.rows)
    if spec.entry_point is not None:
        body = orjson.dumps({"window": window, "reference": build_reference_columns(asked.reference)})
    else:
        body = orjson.dumps({**asked.about, "columns": window})
    if len(body) > MAX_SENT_BYTES:
        text = f"the window takes {len(body) >> 20} MiB as JSON, more than {MAX_SENT_BYTES >> 20}: make it smaller"
        return Answer(None, "WindowTooLarge", text)
    timeout_s = spec.timeout.seconds
    if spec.entry_point is not None:
        return call_function(spec.entry_point, body, timeout_s=timeout_s, memory_bytes=limits.memory_bytes)
    assert spec.url is not None, "the API demands one of them"
    return call_url(spec.url, body, timeout_s=timeout_s)


def build_columns(rows: Sequence[LoggedRow]) -> dict[str, list[Any]]:
    """Lay out a window by column: the inputs by name, then outputs, labels and event time under reserved names.

    Values are as they were logged; what a row lacks is None.
    """
    inputs = dict.fromkeys(name for row in rows for name in row.inputs)
    outputs = dict.fromkeys(name for row in rows for name in row.outputs)
    columns: dict[str, list[Any]] = {name: [row.inputs.get(name) for row in rows] for name in inputs}
    for name in outputs:
        columns[OUTPUT_PREFIX + name] = [row.outputs.get(name) for row in rows]
    columns[LABEL] = [row.label if row.has_label else None for row in rows]
    columns[EVENT_TIME] = [row.event_time for row in rows]
    return columns


def build_reference_columns(reference: StoredReference | None) -> dict[str, list[Any]]:
    """Lay out the reference as the window is; no columns without one."""
    if reference is None:
        return {}
    columns: dict[str, Sequence[Any]] = dict(reference.columns)
    columns |= {OUTPUT_PREFIX + name: values for name, values in reference.outputs.items()}
    if reference.labels is not None:
        columns[LABEL] = reference.labels
    if reference.event_time is not None:
        columns[EVENT_TIME] = reference.event_time
    return {name: list(values) for name, values in columns.items()}


def assess_answer(answer: Answer, spec: Custom, n: int) -> Assessment:
    """Judge a number by its bounds."""
    value = answer.value
    if value is None:
        return Assessment(breached=None, failed=True, reason=answer.reason, message=answer.message, samples=n)
    if spec.min is not None and value < spec.min:
        breached, bound, word = True, spec.min, "below min"
    elif spec.max is not None and value > spec.max:
        breached, bound, word = True, spec.max, "above max"
    else:
        nearest = min((x for x in (spec.min, spec.max) if x is not None), key=lambda x: abs(x - value))
        breached, bound, word = False, nearest, "within min and max, the nearer is"
    return Assessment(
        breached=breached,
        reason="BoundExceeded" if breached else "WithinBound",
        message=f"the value is {value:.6g}, {word} {bound:g}",
        samples=n,
        statistic=value,
        threshold=bound,
    )


def is_allowed_url(url: str, allowed: Sequence[str]) -> bool:
    """Whether an address is one of the allowed or below one: same scheme, host and port, and a path that goes on."""
    wanted = urlsplit(url)
    path = unquote(wanted.path)
    if wanted.username is not None or "\\" in path or ".." in path.split("/"):
        return False
    for prefix in map(urlsplit, allowed):
        same = (prefix.scheme, prefix.netloc.lower()) == (wanted.scheme, wanted.netloc.lower())
        root = prefix.path.rstrip("/")
        if same and (path == root or path.startswith(root + "/")):
            return True
    return False


def is_allowed_function(function: str, allowed: Sequence[str]) -> bool:
    """Whether a function's module is one of the allowed or below one."""
    module = function.partition(":")[0]
    return any(module == package or module.startswith(package + ".") for package in allowed)
