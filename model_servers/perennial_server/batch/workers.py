"""More than one worker: Dask hands segments to processes, each with the model loaded once.

Parts are committed where they are scored, so a worker that dies costs the part in its hands: Dask gives its segment to
another, which skips what has a marker.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from perennial_server.batch.errors import BatchError
from perennial_server.batch.plan import Plan, Segment
from perennial_server.batch.record import Counts
from perennial_server.batch.scorer import open_scorer
from perennial_server.batch.settings import BatchSettings

SEGMENTS_AHEAD = 2
RETRIES = 2


def score_with_dask(
    settings: BatchSettings,
    plan: Plan,
    segments: Iterable[Segment],
    done: Collection[str],
    is_ending: Callable[[], bool],
) -> Iterator[tuple[str, Counts, int]]:
    """Score segments on all workers, a few ahead of each; see `job.score_alone`.

    Raises
    ------
    BatchError
        A part fails, or too many workers die.
    """
    distributed = _import_distributed()
    with _connect(settings) as client:
        waiting = iter(segments)
        running = distributed.as_completed(loop=client.loop)
        scattered = client.scatter(plan, broadcast=True)

        def submit() -> bool:
            segment = None if is_ending() else next(waiting, None)
            if segment is None:
                return False
            running.add(
                client.submit(_score_segment, settings, scattered, segment, _done_in(plan, segment, done),
                              retries=RETRIES, pure=False)
            )  # fmt: skip
            return True

        workers = max(settings.workers, len(client.scheduler_info()["workers"]))
        for _ in range(workers * SEGMENTS_AHEAD):
            if not submit():
                break
        try:
            for future in running:
                yield from future.result()
                submit()
        except distributed.KilledWorker as error:
            raise BatchError(
                f"workers died over and over ({error}); give them more memory, or lower chunk_rows"
            ) from error


def _done_in(plan: Plan, segment: Segment, done: Collection[str]) -> frozenset[str]:
    return frozenset(part.name for part in plan.cut(segment) if part.name in done)


def _score_segment(
    settings: BatchSettings, plan: Plan, segment: Segment, done: frozenset[str]
) -> list[tuple[str, Counts, int]]:
    """Run in a worker."""
    scorer = open_scorer(settings)
    return [(name, counts, scorer.take_dropped()) for name, counts in scorer.score(plan, segment, done)]


@contextmanager
def _connect(settings: BatchSettings) -> Iterator[Any]:
    distributed = _import_distributed()
    with ExitStack() as stack:
        address = settings.dask_scheduler or stack.enter_context(
            distributed.LocalCluster(
                n_workers=settings.workers, threads_per_worker=1, processes=True, dashboard_address=None
            )
        )
        yield stack.enter_context(distributed.Client(address, timeout="60s", set_as_default=False))


def _import_distributed() -> Any:
    """Import Dask's scheduler, whose functions have no types, and whose every step is a line at INFO."""
    import distributed

    logging.getLogger("distributed").setLevel(logging.WARNING)
    return distributed
