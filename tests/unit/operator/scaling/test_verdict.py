"""A condition says whether pods follow the load, and what to do where they don't."""

import pytest
from perennial.manifests.hpa import view_hpa
from perennial.rollout.scaling import Arm, AutoscalerView, Load, ScalePolicy, Situation, assess_scaling
from perennial_api.modeldeployment.server import ScaleMetric

RPS = ScalePolicy(1, 4, ScaleMetric.RPS, 50)
CPU = ScalePolicy(1, 4, ScaleMetric.CPU, 80)


def assess(policy, load=None, autoscaler=None):
    return assess_scaling(policy, Situation("wine-1", frozenset(), {"wine-1": Arm(1, 100, load)}), autoscaler)


def test_nothing_is_said_where_nothing_scales():
    assert assess(ScalePolicy(2, 2)) is None
    assert assess_scaling(RPS, Situation(None, frozenset(), {}), None) is None


@pytest.mark.parametrize(
    ("load", "passed", "reason"),
    [
        (Load(90.0), True, "FollowsLoad"),
        (None, False, "LoadUnknown"),
        (Load(90.0, is_complete=False), False, "RouterUnreachable"),
        (Load(900.0), False, "AtMaximum"),
    ],
)
def test_what_keeps_the_operator_from_scaling_is_named(load, passed, reason):
    got = assess(RPS, load)
    assert (got.passed, got.reason) == (passed, reason)


@pytest.mark.parametrize(
    ("autoscaler", "passed", "reason"),
    [
        (AutoscalerView(True, "ValidMetricFound"), True, "FollowsLoad"),
        (None, False, "NoMetricYet"),
        (AutoscalerView(), False, "NoMetricYet"),
        (
            AutoscalerView(False, "FailedGetResourceMetric", "missing request for cpu."),
            False,
            "FailedGetResourceMetric",
        ),
    ],
    ids=["works", "not there", "has not looked", "no request"],
)
def test_what_keeps_the_clusters_autoscaler_from_scaling_is_named(autoscaler, passed, reason):
    got = assess(CPU, autoscaler=autoscaler)
    assert (got.passed, got.reason) == (passed, reason)


def test_message_of_the_clusters_autoscaler_is_passed_on_with_what_to_do():
    got = assess(CPU, autoscaler=AutoscalerView(False, "X", "missing request for cpu."))
    assert "missing request for cpu." in got.message
    assert "server.resources" in got.message


def test_autoscaler_is_read_from_its_conditions():
    active = {"type": "ScalingActive", "status": "False", "reason": "R", "message": "m"}
    other = {"type": "AbleToScale", "status": "True", "reason": "S"}
    assert view_hpa({"status": {"conditions": [other, active]}}) == AutoscalerView(False, "R", "m")
    assert view_hpa({"status": {"conditions": [other]}}) == AutoscalerView()
    assert view_hpa({}) == AutoscalerView()
