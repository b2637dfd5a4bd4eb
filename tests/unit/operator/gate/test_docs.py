"""docs/gates.md says what the code does."""

import inspect
from pathlib import Path

import pytest
import yaml
from perennial.cluster import prometheus
from perennial.rollout.gate import breaker, judge, looks, readings, verdict
from perennial_api.modeldeployment.analysis import Analysis, MetricType

PAGE = (Path(__file__).parents[4] / "docs" / "gates.md").read_text()


def test_example_is_a_valid_analysis() -> None:
    block = PAGE.split("```yaml\n")[1].split("```")[0]
    got = Analysis.model_validate(yaml.safe_load(block)["analysis"])
    assert {metric.type for metric in got.metrics} == set(MetricType) - {MetricType.INVALID_RATE}


@pytest.mark.parametrize("kind", list(MetricType))
def test_every_type_is_described(kind: MetricType) -> None:
    assert f"| {kind} |" in PAGE


@pytest.mark.parametrize(
    "reason",
    [
        "NoTraffic",
        "TooFewSamples",
        "Baking",
        "NoReading",
        "OutOfBoundsOnce",
        "Breaker",
        "NoSeries",
        "SeveralSeries",
        "NotANumber",
        "Infinite",
        "QueryError",
        "AddressNotAllowed",
        "Unreachable",
        "TimedOut",
        "AnswerTooLarge",
        "BadAnswer",
    ],
)
def test_every_reason_in_the_page_is_one_that_the_code_gives(reason: str) -> None:
    code = "".join(inspect.getsource(m) for m in (breaker, judge, readings, verdict, prometheus))
    assert f'"{reason}"' in code
    assert reason in PAGE


def test_figures_in_the_page_are_those_of_the_code() -> None:
    assert f"looks every {looks.FIRST_INTERVAL_S:g} s" in PAGE
    assert f"of at least {breaker.BREAKER_REQUESTS} requests" in PAGE
    assert f"at most {verdict.SIGNIFICANCE:.0%} over".replace("%", " %") in PAGE
