"""What a process needs to score: the bundle, fetched once, and the places. The main process has one, as has each worker."""

import asyncio
import shutil
import tempfile
import weakref
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

from perennial_bundle import Bundle

from perennial_server.batch.inputs import read_blocks
from perennial_server.batch.part_log import PartLog
from perennial_server.batch.places import open_place
from perennial_server.batch.plan import Plan, Segment
from perennial_server.batch.record import Counts, Record
from perennial_server.batch.scoring import score_block
from perennial_server.batch.settings import BatchSettings
from perennial_server.loading.fetching import fetch_bundle
from perennial_server.loading.progress import Progress
from perennial_server.runtime import warm_up


class Scorer:
    """Scores segments.

    Parameters
    ----------
    settings
        Of the job.
    bundle
        Loaded and warm.
    """

    def __init__(self, settings: BatchSettings, bundle: Bundle) -> None:
        self.bundle = bundle
        self._input = open_place(settings.input_uri, settings)
        self._record = Record(open_place(settings.output_uri, settings))
        self._log = PartLog(settings, bundle) if settings.is_logged else None

    def score(self, plan: Plan, segment: Segment, done: Collection[str]) -> Iterator[tuple[str, Counts]]:
        """Score and commit a segment's parts that aren't done; yields each when it is.

        Raises
        ------
        BatchError
            The input, a store or the model fails.
        """
        for block in read_blocks(self._input, plan, segment, done):
            scored = score_block(self.bundle, plan, plan.files[segment.file], block)
            if self._log is not None:
                self._log.send(scored)
            yield block.part.name, self._record.commit(block.part.name, plan, scored)

    def take_dropped(self) -> int:
        """Return how many rows the log has dropped since the last call."""
        if self._log is None:
            return 0
        dropped, self._log.dropped = self._log.dropped, 0
        return dropped


# A worker is asked for one segment after the other, and must not fetch the bundle for each.
@lru_cache(maxsize=1)
def open_scorer(settings: BatchSettings) -> Scorer:
    """Fetch and load the bundle; once per process.

    Raises
    ------
    BundleError, StartupError
        It can't be had.
    """
    work_dir = settings.work_dir or Path(tempfile.mkdtemp(prefix="perennial-batch-"))
    bundle = asyncio.run(fetch_bundle(settings, work_dir, Progress()))
    warm_up(bundle)
    scorer = Scorer(settings, bundle)
    if settings.work_dir is None:
        # At the latest when the process ends; each worker has fetched one of its own.
        weakref.finalize(scorer, shutil.rmtree, work_dir, ignore_errors=True)
    return scorer
