"""When `status --wait` ends, and how."""

from __future__ import annotations

import pytest
from perennial.cli.waiting import assess_ending

from tests.unit.operator.cli.objects import NOW, ROLLOUT, deployment


def condition(kind: str, status: str, message: str = "") -> dict[str, str]:
    return {
        "type": kind,
        "status": status,
        "reason": "R",
        "message": message,
        "lastTransitionTime": NOW.isoformat(),
    }


READY = condition("Ready", "True")
STABLE = {"phase": "Healthy", "stable": "wine-b"}


@pytest.mark.parametrize(
    ("status", "is_good", "says"),
    [
        (
            {"observedGeneration": 1, "rollout": STABLE, "conditions": [READY]},
            None,
            "not seen the latest edit",
        ),
        ({"observedGeneration": 2}, None, "not begun"),
        (
            {"observedGeneration": 2, "rollout": ROLLOUT, "conditions": [READY]},
            None,
            "wine-b is Progressing, Paused",
        ),
        ({"observedGeneration": 2, "rollout": STABLE, "conditions": [READY]}, True, "wine-b is stable"),
        (
            {
                "observedGeneration": 2,
                "rollout": STABLE,
                "conditions": [condition("Ready", "False", "no pod")],
            },
            None,
            "no pod",
        ),
        ({"observedGeneration": 2, "rollout": STABLE}, None, "not ready yet"),
        (
            {"observedGeneration": 2, "rollout": {"phase": "Degraded", "failedRevision": "wine-b"}},
            False,
            "wine-b was rolled back",
        ),
        (
            {"observedGeneration": 2, "conditions": [condition("InvalidSpec", "True", "no such runtime")]},
            False,
            "no such runtime",
        ),
    ],
)
def test_wait_ends_when_the_latest_spec_serves_or_has_failed(status, is_good, says) -> None:
    got = assess_ending(deployment(status, generation=2))
    assert got.is_good is is_good
    assert says in got.message
