"""Our drift monitors beside those of others: false alarms, power, delay and cost on streams whose truth is known.

`python -m benchmarks.monitoring` (or `make bench-monitoring`) runs all of them and writes `benchmarks/monitoring.md`.
`--contestants ours,river` selects, and prints only. Each has an environment of its own, made at the first run. With
`--folder` what each has said stays there and is not asked for again, so that contestants can be run one by one.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import CannotInstall, environment
from benchmarks.monitoring.report import READING, Row, render
from benchmarks.monitoring.scoring import read, score
from benchmarks.monitoring.streams import SCENARIOS

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
PAGE = REPOSITORY / "benchmarks" / "monitoring.md"
TIMEOUT_S = 3600
# So that NumPy's threads of two contestants at once don't wait for each other.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# Peers that report their use wait for their maker's address.
NO_REPORTS = {"NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}


def own_python() -> Path:
    """Return the project's own interpreter."""
    return Path(sys.executable)


def sidecar_python() -> Path:
    """Return the interpreter of the detectors' sidecar, which holds alibi-detect."""
    script = REPOSITORY / "observer" / "detector_sidecar" / "make_venv.sh"
    answer = subprocess.run(["sh", script], capture_output=True, text=True, check=False, timeout=900)
    if answer.returncode:
        raise CannotInstall(f"alibi-detect: {' '.join(answer.stderr.split())[-400:]}")
    return Path(answer.stdout.strip()) / "bin" / "python"


def peer_python(name: str) -> Callable[[], Path]:
    """Return what finds or makes a peer's environment."""
    return lambda: environment(HERE / "peers" / f"{name}.txt") / "bin" / "python"


@dataclass(frozen=True)
class Contestant:
    """A program in ``contestants/``.

    Parameters
    ----------
    streams
        How many of each scenario its pace allows.
    scenarios
        Those that it is made for; all if empty.
    """

    program: str
    python: Callable[[], Path]
    streams: int
    scenarios: tuple[str, ...] = ()


CONTESTANTS = {
    "ours": Contestant("ours", own_python, 50),
    "ours-small": Contestant(
        "ours_small", own_python, 50, ("iid", "ar5", "ar9", "mean", "mean-ar5", "mean-ar9")
    ),
    "ours-seasonal": Contestant("ours_seasonal", own_python, 50, ("seasonal", "mean-seasonal")),
    "ours-dependence": Contestant("ours_dependence", own_python, 3, ("iid", "correlation")),
    "alibi": Contestant("alibi_ks", sidecar_python, 30),
    "frouros": Contestant("frouros_ks", peer_python("frouros"), 30),
    "river": Contestant("river_adwin", own_python, 15),
    "nannyml": Contestant("nannyml_univariate", peer_python("nannyml"), 20),
    "evidently": Contestant("evidently_drift", peer_python("evidently"), 3),
    "random": Contestant("random_phase", own_python, 50),
}


def run(contestant: Contestant, python: Path, out: Path, scenarios: list[str], streams: int) -> None:
    """Let one contestant judge; it says on its own how far it is."""
    program = HERE / "contestants" / f"{contestant.program}.py"
    subprocess.run(
        [python, program, str(streams), out, *scenarios],
        check=True,
        timeout=TIMEOUT_S,
        env={**os.environ, **ONE_THREAD, **NO_REPORTS, "PYTHONPATH": str(REPOSITORY)},
    )


def main() -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--contestants", default="", help=f"names separated by commas: {', '.join(CONTESTANTS)}"
    )
    parser.add_argument("--scenarios", default="", help=f"names separated by commas: {', '.join(SCENARIOS)}")
    parser.add_argument("--streams", type=int, help="streams of each scenario, for all contestants")
    parser.add_argument("--at-once", type=int, default=2, help="contestants that run at the same time")
    parser.add_argument("--folder", type=Path, help="where contestants' findings stay; new if left out")
    arguments = parser.parse_args()
    names = arguments.contestants.split(",") if arguments.contestants else list(CONTESTANTS)
    scenarios = arguments.scenarios.split(",") if arguments.scenarios else list(SCENARIOS)
    pythons, missing = {}, {}
    for name in names:
        try:
            pythons[name] = CONTESTANTS[name].python()
        except CannotInstall as error:
            missing[name] = str(error)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(arguments.at_once) as pool:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: folder / f"{name}.json" for name in pythons}
        # The slowest stand last and start first.
        running = {
            name: pool.submit(
                run,
                CONTESTANTS[name],
                pythons[name],
                files[name],
                [s for s in scenarios if s in (CONTESTANTS[name].scenarios or scenarios)],
                arguments.streams or CONTESTANTS[name].streams,
            )
            for name in reversed(pythons)
            if not files[name].exists()
        }
        for future in running.values():
            future.result()
        documents = [json.loads(files[name].read_text()) for name in pythons]
    rows = []
    for document in documents:
        said = read(document)
        window_ms = 1000 * max(found.window_s for found in said.values())
        rows.append(
            Row(
                f"{document['name']} {document['version']}".removesuffix(" -").strip(), score(said), window_ms
            )
        )
    page = render(rows, missing)
    print(page)
    if not arguments.contestants and not arguments.scenarios:
        _, heading, reading = PAGE.read_text().partition(READING) if PAGE.exists() else ("", "", "")
        PAGE.write_text(page + (f"\n{heading}{reading}" if heading else ""))
        print(f"written to {PAGE.relative_to(REPOSITORY)}")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
