"""Batches of the prediction log for tests."""

import numpy as np
from perennial_bundle import Rows
from perennial_server.origin import Origin
from perennial_server.prediction_log.batch import LoggedBatch


def build_batch(*ids, sizes=None, time_s=1.0, shadow=(), client=None, flags=(), columns=None, matrix=None):
    """A batch of requests of one row each, with column "x" counting the rows, unless it is told otherwise."""
    sizes = tuple(sizes or (1,) * len(ids))
    n = sum(sizes)
    if columns is None and matrix is None:
        columns = {"x": [float(i) for i in range(n)]}
    return LoggedBatch(
        time_s=time_s,
        origins=tuple(Origin(name, client, is_shadow=name in shadow) for name in ids),
        sizes=sizes,
        rows=Rows(n, columns or {}, matrix),
        outputs={"predict": np.arange(n)},
        flags=tuple(flags),
    )


def read_ids(batches):
    """Prediction ids in order."""
    return [origin.prediction_id for batch in batches for origin in batch.origins]


def read_count(metrics, name, to="Observer", **labels):
    """A counter of the log."""
    full = f"perennial_server_log_{name}"
    return metrics.registry.get_sample_value(full, {"to": to, **labels}) or 0
