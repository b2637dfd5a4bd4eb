"""The cluster's autoscaler is told the target, the bounds and the window."""

import pytest
from perennial.manifests.context import Owner
from perennial.manifests.hpa import build_hpa
from perennial.rollout.scaling import ScalePolicy
from perennial_api.labels import LABEL_DEPLOYMENT, LABEL_REVISION
from perennial_api.modeldeployment.server import ScaleMetric
from perennial_api.modelrevision import ModelRevision

OWNER = Owner("ModelDeployment", "wine", "shop", "uid-of-wine", "wine")


class Named:
    """A revision of which only the name matters."""

    class metadata:  # noqa: N801 - spelled as the field
        name = "wine-1"


def build(metric=ScaleMetric.CPU, minimum=2, window_s=120.0):
    revision: ModelRevision = Named()  # type: ignore[assignment]  # only the name is read
    return build_hpa(OWNER, revision, ScalePolicy(2, 8, metric, 70, window_s), minimum)


def test_autoscaler_follows_the_revisions_deployment():
    got = build()
    assert got["metadata"]["labels"][LABEL_REVISION] == "wine-1"
    assert got["metadata"]["labels"][LABEL_DEPLOYMENT] == "wine"
    assert got["metadata"]["ownerReferences"][0]["uid"] == "uid-of-wine"
    spec = got["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "wine-1"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 8)
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 120


@pytest.mark.parametrize(("metric", "want"), [(ScaleMetric.CPU, "cpu"), (ScaleMetric.MEMORY, "memory")])
def test_target_is_a_percentage_of_what_is_requested(metric, want):
    (got,) = build(metric)["spec"]["metrics"]
    target = {"type": "Utilization", "averageUtilization": 70}
    assert got == {"type": "Resource", "resource": {"name": want, "target": target}}


@pytest.mark.parametrize(("minimum", "want"), [(1, 2), (5, 5), (9, 8)])
def test_minimum_of_a_rollout_stays_within_the_users_bounds(minimum, want):
    assert build(minimum=minimum)["spec"]["minReplicas"] == want


def test_window_that_the_api_server_would_refuse_is_cut():
    assert build(window_s=86400.0)["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 3600


def test_metric_of_the_gateway_has_no_autoscaler_of_the_cluster():
    with pytest.raises(ValueError, match="Rps"):
        build(ScaleMetric.RPS)
