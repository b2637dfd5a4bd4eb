"""API objects as decisions see them, and routers as they answer."""

from typing import Any

from perennial.cluster.routers import RouterSnapshot, _Status
from perennial.manifests.views import count_ready_endpoints, view_job, view_pod

STATUS = {
    "pod": "gw-1",
    "epoch": "e1",
    "routes": {"shop/wine": {"uid": "u", "generation": 7, "state": "Applied", "message": ""}},
    "counters": {
        "shop/wine-1a2b3c4d": {"requests": 1200, "errors": 3, "active": 1},
        "shop/winery-1a2b3c4d": {"requests": 5, "errors": 5, "active": 0},
        "other/wine-1a2b3c4d": {"requests": 9, "errors": 9, "active": 0},
    },
    "new_field": 1,
}


def test_router_answer_is_cut_to_one_deployment() -> None:
    snapshot = RouterSnapshot(
        {"gw-1": True, "gw-2": False}, {"gw-1": _Status.model_validate(STATUS), "gw-2": None}
    )
    first, second = snapshot.view("shop", "wine")
    assert (first.reachable, first.route_generation, first.state, first.epoch) == (True, 7, "Applied", "e1")
    assert {n: (c.requests, c.errors, c.active) for n, c in first.counters.items()} == {
        "wine-1a2b3c4d": (1200, 3, 1)
    }
    assert (second.ready, second.reachable) == (False, False)


def test_router_that_knows_no_route_has_applied_none() -> None:
    snapshot = RouterSnapshot({"gw-1": True}, {"gw-1": _Status.model_validate(STATUS)})
    (view,) = snapshot.view("shop", "beer")
    assert (view.state, view.route_generation) == ("", 0)


def endpoints(service: str, manager: str, *ready: bool | None) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": manager}
    return {"metadata": {"labels": labels}, "endpoints": [{"conditions": {"ready": r}} for r in ready]}


def test_only_ready_endpoints_from_the_clusters_own_controller_count() -> None:
    ours = "endpointslice-controller.k8s.io"
    slices = [
        endpoints("wine-1", ours, True, False, None),
        endpoints("wine-1", ours, True),
        endpoints("wine-1", "somebody", True, True),
        {"metadata": {}, "endpoints": None},
    ]
    assert count_ready_endpoints(slices) == {"wine-1": 2}


def test_pod_that_crashed_is_read_from_its_last_state() -> None:
    pod = {
        "metadata": {
            "name": "p",
            "labels": {"perennial.dev/revision": "wine-1"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "status": {
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [
                {
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {
                        "terminated": {"exitCode": 3, "message": "m", "finishedAt": "2026-01-01T00:00:01Z"}
                    },
                }
            ],
        },
    }
    view = view_pod(pod)
    assert (view.revision, view.ready, view.terminating) == ("wine-1", False, False)
    assert (view.containers[0].waiting_reason, view.containers[0].exit_code) == ("CrashLoopBackOff", 3)


def test_image_that_runs_beside_the_server_tells_first_why_a_pod_does_not_start() -> None:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    status = {"initContainerStatuses": [waiting], "containerStatuses": [{"state": {"running": {}}}]}
    view = view_pod({"metadata": {"name": "p"}, "status": status})
    assert [container.waiting_reason for container in view.containers] == ["ImagePullBackOff", ""]


def test_new_pod_without_status_is_no_error() -> None:
    assert not view_pod({"metadata": {"name": "p"}}).ready


def test_job_takes_the_latest_pods_message() -> None:
    def pod(name: str, message: str, at: str) -> dict[str, Any]:
        ended = {"exitCode": 0, "message": message, "finishedAt": at}
        labels = {"batch.kubernetes.io/job-name": "run-1"}
        return {
            "metadata": {"name": name, "labels": labels},
            "status": {"containerStatuses": [{"state": {"terminated": ended}}]},
        }

    pods = [
        view_pod(pod("a", "old", "2026-01-01T00:00:00Z")),
        view_pod(pod("b", "new", "2026-01-01T00:01:00Z")),
    ]
    complete = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:01:02Z"}
    view = view_job({"metadata": {"name": "run-1"}, "status": {"conditions": [complete]}}, pods)
    assert (view.succeeded, view.failed, view.termination_message) == (True, False, "new")
