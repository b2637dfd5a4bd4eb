"""``python -m perennial_server.batch``: score files with a bundle; see docs/batch-scoring.md."""

import argparse
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from perennial_bundle import BundleError
from pydantic import ValidationError

from perennial_server.batch.job import run
from perennial_server.batch.settings import BatchSettings
from perennial_server.errors import StartupError
from perennial_server.main import report_failure

logger = logging.getLogger(__name__)

ENDED_BY_SIGNAL = 128 + signal.SIGTERM


def build_parser() -> argparse.ArgumentParser:
    """Build the command line: the settings that a person gives; all others are environment variables."""
    parser = argparse.ArgumentParser(
        prog="python -m perennial_server.batch",
        description="Score Parquet or CSV files with a bundle. Every option is also a variable PERENNIAL_<NAME>.",
    )
    fields = BatchSettings.model_fields
    for option, field, kind in (
        ("--input", "input_uri", str),
        ("--output", "output_uri", str),
        ("--bundle", "bundle_uri", str),
        ("--input-format", "input_format", str),
        ("--output-format", "output_format", str),
        ("--keep", "keep", str),
        ("--chunk-rows", "chunk_rows", int),
        ("--workers", "workers", int),
        ("--dask-scheduler", "dask_scheduler", str),
    ):
        parser.add_argument(
            option, dest=field, type=kind, help=(fields[field].description or "").replace("%", "%%")
        )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a job: 0 when all is scored, 143 after a signal (start it again to go on), 1 if it can't go on."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    given: dict[str, Any] = {
        k: v for k, v in vars(build_parser().parse_args(arguments)).items() if v is not None
    }
    if "://" not in given.get("bundle_uri", "://"):
        given["bundle_uri"] = Path(given["bundle_uri"]).absolute().as_uri()
    try:
        settings = BatchSettings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        print(f"PERENNIAL_{name}: {first['msg']}" if name else first["msg"], file=sys.stderr)
        return 2
    ended = False

    def end(*_: object) -> None:
        nonlocal ended
        ended = True
        logger.info("ending after the parts in hand")

    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, end)
    try:
        return 0 if run(settings, lambda: ended) else ENDED_BY_SIGNAL
    except (BundleError, StartupError) as error:
        report_failure(settings.termination_log, error.reason, str(error))
    except Exception as error:
        logger.exception("the job failed")
        report_failure(settings.termination_log, StartupError.reason, f"{type(error).__name__}: {error}")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
