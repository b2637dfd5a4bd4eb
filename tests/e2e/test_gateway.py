"""The gateway on a real cluster: a token pins a revision, and routers are replaced one by one without a lost request."""

import uuid

import httpx
import pytest
from perennial_demo import install

from tests.e2e.support.kube import Kube
from tests.e2e.support.objects import ECHO_BODY, canary
from tests.e2e.support.rollouts import World

AUDIENCE = "perennial-gateway"


@pytest.fixture
def world(kube: Kube, test_runtimes: None, namespace: str, gateway_url: str) -> World:
    return World(kube, namespace, gateway_url)


def _token(kube: Kube, namespace: str) -> str:
    return kube.run("create", "token", "default", "-n", namespace, f"--audience={AUDIENCE}").strip()


def test_only_a_token_of_the_models_namespace_pins_a_revision(kube: Kube, world: World) -> None:
    first = world.start(rollout=canary(20, pause="10m"))
    with world.traffic() as traffic:
        world.new_model()
        second = world.wait_weight(20)
        traffic.wait_more(50, world.wait)
    url = world.infer_url.replace(world.gateway_url, f"{world.gateway_url}:8443")

    def ask(revision: str, token: str) -> httpx.Response:
        headers = {"x-model-revision": revision, "authorization": f"Bearer {token}"}
        return httpx.post(url, json=ECHO_BODY, headers=headers, timeout=10)

    world.wait(lambda: kube.get("serviceaccount", "default", world.namespace), "the namespace's account")
    token = _token(kube, world.namespace)
    for wanted in (first, second):
        answers = [ask(wanted, token) for _ in range(5)]
        assert {(a.status_code, a.headers.get("x-model-revision")) for a in answers} == {(200, wanted)}
    assert ask(second, "nonsense").status_code == 401
    assert ask(second, _token(kube, install.NAMESPACE)).status_code == 403
    # The public port hears no such wish.
    seen = {
        httpx.post(world.infer_url, json=ECHO_BODY, headers={"x-model-revision": second}, timeout=10).headers[
            "x-model-revision"
        ]
        for _ in range(60)
    }
    assert first in seen


def test_routers_replaced_one_by_one_lose_no_request(kube: Kube, world: World) -> None:
    world.start()
    pods = f"app.kubernetes.io/component=gateway,app.kubernetes.io/name={install.RELEASE}"
    before = {pod["metadata"]["name"] for pod in kube.list("pod", install.NAMESPACE, pods)}
    restarted_at = {"perennial.dev/restarted-at": uuid.uuid4().hex}
    template = {"spec": {"template": {"metadata": {"annotations": restarted_at}}}}
    with world.traffic(rate_per_s=100, workers=8) as traffic:
        traffic.wait_more(100, world.wait)
        kube.patch("deployment", "perennial-gateway", install.NAMESPACE, template)
        kube.run(
            "rollout", "status", "deployment/perennial-gateway", "-n", install.NAMESPACE, "--timeout=180s",
            timeout_s=190,
        )  # fmt: skip
        world.wait(
            lambda: (
                not before & {pod["metadata"]["name"] for pod in kube.list("pod", install.NAMESPACE, pods)}
            ),
            "the old routers gone",
            timeout_s=180,
        )
        traffic.wait_more(100, world.wait)
    assert traffic.failed() == 0, traffic.failures[:5]
