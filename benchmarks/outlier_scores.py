"""What `server.outlierScores` adds to a call of the model: ``python -m benchmarks.outlier_scores``.

Beside ours the isolation forest that alibi-detect wraps, for which the server has no place: microseconds of a call on one
core, the median of many, by features, rows in the call and detector, and how many times ours it is.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from perennial_bundle import Rows, Schema
from perennial_bundle.oddness import Cut, Mahalanobis, Neighbours, learn_rows
from sklearn.ensemble import IsolationForest

WIDTHS = (12, 300)
REFERENCE_ROWS = 5000
ROWS = (1, 64, 1024)
CALLS = 200


def build_schema(names: Sequence[str]) -> Schema:
    """Build a schema of numbers."""
    return Schema.model_validate(
        {
            "inputs": [{"name": name, "datatype": "FP64"} for name in names],
            "outputs": [{"name": "predict", "datatype": "INT64", "role": "Output"}],
        }
    )


def time_us(call: Callable[[], object]) -> float:
    """Median time of a call, in microseconds."""
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)


def main() -> None:
    """Measure and print."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for width in WIDTHS:
        measure(width)


def measure(width: int) -> None:
    """Measure and print one width."""
    random = np.random.default_rng(0)
    reference = random.normal(size=(REFERENCE_ROWS, width))
    columns = {f"f{i}": reference[:, i].tolist() for i in range(width)}
    rates = {}
    for scorer in (Mahalanobis, Neighbours):
        start_s = time.perf_counter()
        rates[scorer.__name__] = learn_rows(build_schema(tuple(columns)), columns, Cut(scorer, 0.01))
        print(f"{width} features: {scorer.__name__} learnt in {time.perf_counter() - start_s:.2f} s")
    forest = IsolationForest(n_estimators=100, random_state=0, n_jobs=1).fit(reference)
    for n in ROWS:
        window = random.normal(size=(n, width))
        rows = Rows(n, {}, window)
        forest_us = time_us(partial(forest.decision_function, window))
        print(f"{width} features, {n:5d} rows: isolation forest {forest_us:8.0f} us")
        for name, rate in rates.items():
            ours_us = time_us(partial(rate, rows))
            print(f"            {name:16s} {ours_us:8.0f} us, forest {forest_us / ours_us:.1f} x")


if __name__ == "__main__":
    main()
