"""Drift of what the model answers, and how sure it is."""

from dataclasses import replace

import numpy as np
import pytest
from perennial_api.modeldeployment.monitoring import Drift, DriftDetector
from perennial_bundle import Schema
from perennial_observer.monitors.drift.outputs import choose_outputs
from perennial_observer.monitors.references.sources import MissingReference
from perennial_observer.store.rows import LoggedRow

from tests.unit.observer.drift_streams import NATIVE_KS, prepare, settings, stored

INPUTS = np.zeros((1_000, 1))


def answered(outputs: dict[str, list]) -> list[LoggedRow]:
    n = len(next(iter(outputs.values())))
    return [
        LoggedRow(i, 60.0 * i, {"x0": 0.0}, {name: values[i] for name, values in outputs.items()})
        for i in range(n)
    ]


def reference(outputs: dict[str, list], *, task="Regression", schema=None):
    found = stored(INPUTS, outputs=outputs, task=task, output_schema=tuple(outputs))
    if schema is None:
        return found
    document = found.schema.model_dump()
    document["outputs"] = schema
    return replace(found, schema=Schema.model_validate(document))


def test_answers_that_move_breach_and_others_do_not():
    random = np.random.default_rng(4)
    monitor = prepare(reference({"predict": random.normal(size=1_000).tolist()})).drift(
        NATIVE_KS, of_outputs=True
    )
    same = answered({"predict": random.normal(size=100).tolist()})
    moved = answered({"predict": random.normal(2.0, size=100).tolist()})
    few = settings(100)
    assert monitor.assess(same, few).breached is False
    got = monitor.assess(moved, few)
    assert (got.breached, got.features[0][0]) == (True, "predict")


def test_classes_are_compared_by_their_shares_however_they_are_spelled():
    outputs = {"predict": [0, 1, 2, 1] * 250}
    schema = [{"name": "predict", "datatype": "INT64", "role": "Output"}]
    prepared = prepare(reference(outputs, task="Classification", schema=schema))
    monitor = prepared.drift(NATIVE_KS, of_outputs=True)
    same = monitor.assess(answered({"predict": [0.0, True, 2, 1] * 25}), settings(100))
    # The middle class takes over from both others: no mean has moved.
    moved = monitor.assess(answered({"predict": [1] * 100}), settings(100))
    assert (same.breached, moved.breached) == (False, True)
    assert moved.statistic == pytest.approx(0.5)


def test_an_answer_of_many_values_is_as_many_columns():
    outputs = {"probability": [[0.2, 0.3, 0.5]] * 1_000}
    found = choose_outputs(reference(outputs))
    assert [column.name for column in found.columns] == ["probability[0]", "probability[1]", "probability[2]"]
    row = LoggedRow(1, 0.0, {}, {"probability": [0.1, 0.9]})
    assert found.read(row) == {"probability[0]": 0.1, "probability[1]": 0.9, "probability[2]": None}


def test_what_members_of_an_ensemble_answer_is_not_the_answer():
    outputs = {"predict": [1.0] * 1_000, "tree": [2.0] * 1_000}
    schema = [
        {"name": "predict", "datatype": "FP64", "role": "Output"},
        {"name": "tree", "datatype": "FP64", "role": "Member"},
    ]
    found = choose_outputs(reference(outputs, schema=schema))
    assert [column.name for column in found.columns] == ["predict"]


def test_a_reference_without_outputs_is_a_missing_one():
    with pytest.raises(MissingReference, match="outputs") as caught:
        prepare(stored(INPUTS)).drift(NATIVE_KS, of_outputs=True)
    assert caught.value.reason == "NoReferenceOutputs"


def test_certainty_needs_probabilities_whatever_the_type_of_the_monitor():
    spec = Drift(detector=DriftDetector.CLASSIFIER_UNCERTAINTY)
    for of_outputs in (False, True):
        with pytest.raises(MissingReference, match="probability"):
            prepare(reference({"predict": [1.0] * 1_000})).drift(spec, of_outputs=of_outputs)
        monitor = prepare(reference({"probability": [0.5] * 1_000})).drift(spec, of_outputs=of_outputs)
        assert monitor.compared.encoder.names == ("probability",)
