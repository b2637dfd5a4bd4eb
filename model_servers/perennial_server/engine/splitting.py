"""Cut a batch's answer into its requests'. Pure."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate

from perennial_bundle import Flag

from perennial_server.engine.job import Job, Prediction
from perennial_server.engine.model_call import Answered


def split(answered: Answered) -> Iterator[tuple[Job, Prediction]]:
    """Give each request its rows of the outputs, as views, its flags and its scores."""
    jobs, outputs, scores = answered.jobs, answered.outputs, answered.outlier_scores
    if len(jobs) == 1:
        yield jobs[0], Prediction(outputs, answered.flags, answered.outlier_scores)
        return
    flags = _split_flags(answered) if answered.flags else None
    columns = list(outputs.items())
    start = 0
    for index, job in enumerate(jobs):
        stop = start + job.rows.n
        part = {name: values[start:stop] for name, values in columns}
        rated = None if scores is None else scores[start:stop]
        yield job, Prediction(part, () if flags is None else tuple(flags[index]), rated)
        start = stop


def _split_flags(answered: Answered) -> list[list[Flag]]:
    ends = list(accumulate(job.rows.n for job in answered.jobs))
    parts: list[list[Flag]] = [[] for _ in ends]
    for flag in answered.flags:
        index = bisect_right(ends, flag.row)
        first = ends[index] - answered.jobs[index].rows.n
        parts[index].append(replace(flag, row=flag.row - first))
    return parts
