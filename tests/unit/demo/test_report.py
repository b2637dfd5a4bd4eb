from dataclasses import replace

import pytest
from perennial_demo.report import Facts, assess, render_json, render_text

GOOD = Facts(
    drift_alarm="0.9 above 0.8",
    run_phase="Accepted",
    retrained_is_stable=True,
    retrained_evidence="0 of 200 failed",
    bad_rolled_back=True,
    failed_by_bad=12,
    requests=5000,
)


def test_everything_that_happened_passes() -> None:
    assert all(check.passed for check in assess(GOOD))


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        ({"drift_alarm": ""}, "drift was detected"),
        ({"run_phase": "Refused"}, "retraining ran"),
        ({"retrained_is_stable": False}, "the candidate was promoted by its gates"),
        ({"retrained_evidence": ""}, "the candidate was promoted by its gates"),
        ({"bad_rolled_back": False}, "the bad version was rolled back"),
        ({"failed_by_bad": 0}, "the bad version was rolled back"),
        ({"failed_otherwise": 1}, "no other request failed"),
        ({"refused": 1}, "no other request failed"),
        ({"requests": 0}, "no other request failed"),
    ],
)
def test_whatever_is_missing_fails_alone(change: dict[str, object], fails: str) -> None:
    checks = assess(replace(GOOD, **change))
    assert [check.name for check in checks if not check.passed] == [fails]
    assert f"FAIL  {fails}" in render_text(GOOD, checks)
    assert render_json(GOOD, checks)["passed"] is False
