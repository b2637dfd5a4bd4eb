"""Both models on the test slice: their outputs, and what the metric makes of them."""

import numpy as np
from perennial_bundle import Bundle

from perennial_training.data import Rows
from perennial_training.errors import InvalidRun
from perennial_training.evaluate import METRICS, Comparison, Metric, compare
from perennial_training.labels import class_index


def metric_for(name: str, champion: Bundle) -> Metric:
    """Look up a metric and check that the champion can be measured by it.

    Raises
    ------
    InvalidRun
        No such metric, or one for another task or another kind of output.
    """
    metric = METRICS.get(name)
    if metric is None:
        raise InvalidRun(f"metric {name!r} is unknown; known are {', '.join(sorted(METRICS))}")
    if metric.task != champion.manifest.task:
        raise InvalidRun(f"metric {name!r} is for {metric.task}, and the model does {champion.manifest.task}")
    outputs = {column.name for column in champion.schema.outputs}
    if metric.needs == "Probability" and "probability" not in outputs:
        raise InvalidRun(
            f"metric {name!r} needs probabilities, and the model has only {', '.join(sorted(outputs))}"
        )
    return metric


def judge(metric: Metric, champion: Bundle, challenger: Bundle, test: Rows, seed: int) -> Comparison:
    """Compare two bundles, as they would be served, on the same test rows."""
    champion_output, challenger_output = (
        bundle.predict(bundle.schema.impute(test.frame))[
            "probability" if metric.needs == "Probability" else "predict"
        ]
        for bundle in (champion, challenger)
    )
    truth = test.labels
    if metric.task == "Classification":
        classes = champion.manifest.classes or ()
        truth = class_index(truth, classes)
        if metric.needs == "Prediction":
            champion_output = class_index(champion_output, classes)
            challenger_output = class_index(challenger_output, classes)
    rng = np.random.default_rng(seed)
    return compare(
        metric,
        truth,
        champion_output=champion_output,
        challenger_output=challenger_output,
        event_time=test.event_time,
        rng=rng,
    )
