"""Prometheus scrapes the pods that ask for it, where they say."""

import pytest
from perennial_localcluster.targets import build_targets


def pod(annotations=None, *, address="10.213.0.9", **metadata):
    named = {f"prometheus.io/{name}": text for name, text in (annotations or {}).items()}
    base = {
        "name": "wine-abc",
        "namespace": "shop",
        "annotations": named,
        "labels": {"perennial.dev/revision": "wine-1"},
    }
    ports = [{"containerPort": 3000}, {"containerPort": 9000}]
    return {
        "metadata": base | metadata,
        "spec": {"containers": [{"name": "a"}, {"name": "b", "ports": ports}]},
        "status": {"podIP": address} if address else {},
    }


@pytest.mark.parametrize(
    ("annotations", "want"),
    [
        ({"scrape": "true", "port": "8080"}, ("10.213.0.9:8080", "/metrics")),
        ({"scrape": "true", "path": "/stats"}, ("10.213.0.9:3000", "/stats")),
    ],
    ids=["at the port that they name", "at the first that they declare"],
)
def test_pods_are_scraped_at_their_port_and_path(annotations, want):
    (got,) = build_targets([pod(annotations)])
    assert (*got["targets"], got["labels"]["__metrics_path__"]) == want


@pytest.mark.parametrize(
    "other",
    [
        pod({"scrape": "false", "port": "8080"}),
        pod(),
        pod({"scrape": "true"}, address=None),
        pod(annotations=None, labels={}),
    ],
    ids=["refusing", "silent", "without an address", "bare"],
)
def test_other_pods_are_left_alone(other):
    assert build_targets([other]) == []


def test_targets_carry_the_pods_name_and_labels():
    (got,) = build_targets([pod({"scrape": "true"})])
    want = {"namespace": "shop", "pod": "wine-abc", "perennial_dev_revision": "wine-1"}
    assert want.items() <= got["labels"].items()


def test_order_of_the_pods_makes_no_difference():
    one, two = pod({"scrape": "true"}), pod({"scrape": "true"}, address="10.213.0.10")
    assert build_targets([one, two]) == build_targets([two, one])
