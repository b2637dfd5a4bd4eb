"""A job from start to end: plan or go on, score part by part, sum up."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from perennial_bundle import Bundle

from perennial_server.batch.errors import BatchError, UnreadableInput
from perennial_server.batch.inputs import cut_file, list_files, read_columns
from perennial_server.batch.places import Place, open_place
from perennial_server.batch.plan import Plan, Segment
from perennial_server.batch.progress import Progress
from perennial_server.batch.record import Counts, Record
from perennial_server.batch.scorer import Scorer, open_scorer
from perennial_server.batch.scoring import REJECT_COLUMNS, output_names
from perennial_server.batch.settings import BatchSettings

logger = logging.getLogger(__name__)


def run(settings: BatchSettings, is_ending: Callable[[], bool]) -> bool:
    """Score everything that isn't scored yet; False if it was ended before.

    Parameters
    ----------
    is_ending
        Asked after each part: whether to stop there.

    Raises
    ------
    BundleError, StartupError
        With what to change.
    """
    start_s = time.monotonic()
    scorer = open_scorer(settings)
    source = open_place(settings.input_uri, settings)
    record = Record(open_place(settings.output_uri, settings))
    plan, done = prepare(settings, scorer.bundle, source, record)
    progress = Progress(plan, list(done.values()), settings.progress_interval_s)
    logger.info("scoring bundle=%s files=%d %s", plan.bundle_digest, len(plan.files), progress.render())
    left = [segment for segment in plan.segments if any(part.name not in done for part in plan.cut(segment))]
    is_alone = settings.workers == 1 and settings.dask_scheduler is None
    log_dropped = 0
    for _, counts, dropped in (
        score_alone(scorer, plan, left, done, is_ending)
        if is_alone
        else _score_with_dask(settings, plan, left, done, is_ending)
    ):
        progress.add(counts)
        log_dropped += dropped
    progress.tell()
    if progress.counts.rows < plan.rows:
        logger.info("ended by a signal; start again with the same settings to go on")
        return False
    if left or not record.is_finished():
        record.finish(plan, progress.counts, {"log_dropped": log_dropped})
    logger.info(
        "done %s took_s=%.1f log_dropped=%d", progress.render(), time.monotonic() - start_s, log_dropped
    )
    _check_rejected(settings, progress.counts)
    return True


def prepare(
    settings: BatchSettings, bundle: Bundle, source: Place, record: Record
) -> tuple[Plan, dict[str, Counts]]:
    """Return the plan, and the parts that are done already.

    Raises
    ------
    UnreadableInput, CannotResume
        See there.
    """
    check_apart(settings)
    files = list_files(source, settings.input_format)
    wanted = Plan(
        bundle_digest=bundle.digest,
        chunk_rows=settings.chunk_rows,
        output_format=settings.output_format,
        csv_delimiter=settings.csv_delimiter,
        keep=None if settings.keep is None else tuple(sorted(settings.keep)),
        files=files,
        segments=(),
    )
    begun = record.find_plan()
    if begun is not None:
        return begun, record.go_on(begun, wanted)
    for file in files:
        names = read_columns(source, file, settings.csv_delimiter)
        check_columns(bundle, file.path, names, wanted.keep, output_names(bundle))
    segments: list[Segment] = []
    for number, file in enumerate(files):
        segments += cut_file(source, number, file, settings.chunk_rows, settings.csv_delimiter)
    plan = Plan(**{**_fields(wanted), "segments": tuple(segments)})
    record.begin(plan)
    return plan, {}


def check_apart(settings: BatchSettings) -> None:
    """Refuse an output within the input, which would be the next start's input.

    Raises
    ------
    BatchError
        It is.
    """
    source, target = (open_place(uri, settings) for uri in (settings.input_uri, settings.output_uri))
    is_within = f"{target.path.rstrip('/')}/".startswith(f"{source.path.rstrip('/')}/")
    if is_within and source.fs.protocol == target.fs.protocol:
        raise BatchError(f"--output {settings.output_uri} is within --input: choose a directory beside it")


def _fields(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__dataclass_fields__}


def check_columns(
    bundle: Bundle, path: str, names: Collection[str], keep: Collection[str] | None, outputs: Collection[str]
) -> None:
    """Refuse a file that can't be scored at all, before anything is.

    Raises
    ------
    UnreadableInput
        Naming the column at fault.
    """
    for column in bundle.schema.inputs:
        if column.name not in names and column.role != "Passthrough":
            raise UnreadableInput(
                f"{path} has no column {column.name!r} ({column.datatype}), which the model needs"
            )
    kept = set(names) if keep is None else set(keep)
    if unknown := kept - set(names):
        raise UnreadableInput(f"{path} has no column {min(unknown)!r}, which --keep names")
    if twice := kept & set(outputs):
        raise UnreadableInput(
            f"{path} has a column {min(twice)!r}, as the output has: name the columns to keep, without it, in --keep"
        )
    if twice := set(names) & set(REJECT_COLUMNS):
        raise UnreadableInput(
            f"{path} has a column {min(twice)!r}, which rejects have for their own: rename it"
        )


def score_alone(
    scorer: Scorer,
    plan: Plan,
    segments: Iterable[Segment],
    done: Collection[str],
    is_ending: Callable[[], bool],
) -> Iterator[tuple[str, Counts, int]]:
    """Score segments one after the other; yields each part's name, counts, and rows that the log dropped."""
    for segment in segments:
        if is_ending():
            return
        for name, counts in scorer.score(plan, segment, done):
            yield name, counts, scorer.take_dropped()
            if is_ending():
                return


def _score_with_dask(*arguments: Any) -> Iterator[tuple[str, Counts, int]]:
    # Dask takes a second to import and is nobody's business where one process scores.
    from perennial_server.batch.workers import score_with_dask

    return score_with_dask(*arguments)


def _check_rejected(settings: BatchSettings, counts: Counts) -> None:
    percent = 100 * counts.rejected / counts.rows if counts.rows else 0.0
    if percent > settings.max_rejected_percent:
        raise BatchError(
            f"{counts.rejected} of {counts.rows} rows ({percent:.1f} %) don't fit the model's schema, where "
            f"{settings.max_rejected_percent:g} % are allowed; why is in _rejects beside the output"
        )
