"""What every contestant does: judge the windows of streams, one after another, and write down what it said.

Runs in the contestant's own environment, which has NumPy and SciPy and nothing else of ours: ``python contestants/NAME.py
SEEDS OUT SCENARIO...`` writes a file with an entry for each scenario: scores and alarms by seed and window, and the
seconds of the processor that a window took, in which another process's share doesn't count.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.monitoring.streams import SCENARIOS, Floats

# Judges a window, float64 (n, d): a score, higher where it believes more in a change, and whether it alarms.
Judge = Callable[[Floats], tuple[float, bool]]


def contest(make: Callable[[Floats], Judge], *, name: str, version: str) -> None:
    """Judge what the command line asks for.

    Parameters
    ----------
    make
        Fits on a reference, float64 (m, d), and returns the judge; the time it takes isn't a window's.
    """
    warnings.filterwarnings("ignore")
    n_seeds, out, scenarios = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    found = {}
    for scenario in scenarios:
        scores, alarms, seconds = [], [], []
        for seed in range(n_seeds):
            stream = SCENARIOS[scenario].draw(seed)
            judge = make(stream.reference)
            said = []
            for window in stream.windows:
                start_s = time.process_time()
                said.append(judge(window))
                seconds.append(time.process_time() - start_s)
            scores.append([float(score) for score, _ in said])
            alarms.append([bool(alarm) for _, alarm in said])
        found[scenario] = {"scores": scores, "alarms": alarms, "window_s": float(np.median(seconds))}
        share = np.mean(alarms)
        print(
            f"  {name} {version}: {scenario}: {n_seeds} streams, alarms in {share:.1%} of windows", flush=True
        )
    out.write_text(json.dumps({"name": name, "version": version, "scenarios": found}))
