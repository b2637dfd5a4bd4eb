"""Who may write what: the chart's roles and admission policies on the real API server."""

import json
import uuid
from typing import Any

import pytest
from perennial_demo import install

from tests.contract.crds.specs import MINIMAL, REPORT, REVISION, ROUTE, RUN, RUNTIME
from tests.e2e.support.kube import Kube, KubeError, wait_for

OPERATOR = f"system:serviceaccount:{install.NAMESPACE}:perennial-operator"
OBSERVER = f"system:serviceaccount:{install.NAMESPACE}:perennial-observer"
GATEWAY = f"system:serviceaccount:{install.NAMESPACE}:perennial-gateway"


def _in(namespace: str, body: dict[str, Any], **spec: Any) -> dict[str, Any]:
    changed = {"spec": {**body["spec"], **spec}} if spec else {}
    return {**body, **changed, "metadata": {**body["metadata"], "namespace": namespace}}


def _grant(
    kube: Kube, namespace: str, user: str, *, role: str | None = None, rules: list[Any] | None = None
) -> Kube:
    kind = "ClusterRole" if role else "Role"
    name = role or f"only-{user}"
    api = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    if rules is not None:
        kube.apply(
            {**api, "kind": "Role", "metadata": {"name": name, "namespace": namespace}, "rules": rules}
        )
    kube.apply(
        {
            **api,
            "kind": "RoleBinding",
            "metadata": {"name": f"{user}-{name}", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }
    )
    return kube.as_user(user)


def _can(kube: Kube, *question: str) -> bool:
    try:
        return kube.run("auth", "can-i", *question).strip() == "yes"
    except KubeError:
        return False


@pytest.mark.parametrize("body", [REVISION, ROUTE, RUN, REPORT], ids=lambda body: body["kind"])
def test_even_an_administrator_does_not_write_an_internal_kind(
    kube: Kube, namespace: str, body: dict[str, Any]
) -> None:
    with pytest.raises(KubeError, match=r"writes this kind: edit .* instead"):
        kube.apply(_in(namespace, body))


def test_revision_never_changes_not_even_inside_its_pod_template(kube: Kube, namespace: str) -> None:
    operator = kube.as_user(OPERATOR)
    operator.apply(_in(namespace, REVISION))
    with pytest.raises(KubeError, match="never changes"):
        operator.apply(
            _in(namespace, REVISION, podTemplate={"spec": {"containers": [{"name": "x", "image": "y"}]}})
        )
    with pytest.raises(KubeError, match="never changes"):
        operator.apply(_in(namespace, REVISION, modelHash="ffff"))
    with pytest.raises(KubeError, match="edit the ModelDeployment instead"):
        kube.delete("modelrevision", REVISION["metadata"]["name"], namespace)


def test_deleted_namespace_takes_the_internal_kinds_with_it(kube: Kube) -> None:
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    kube.run("create", "namespace", namespace)
    kube.as_user(OPERATOR).apply(_in(namespace, ROUTE))
    kube.as_user(OBSERVER).apply(_in(namespace, REPORT))
    kube.delete("namespace", namespace, wait=False)
    wait_for(lambda: kube.get("namespace", namespace) is None, timeout_s=90, what="the namespace is gone")


def test_garbage_collector_takes_the_internal_kinds_with_their_owner(kube: Kube, namespace: str) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": namespace}}
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": kube.apply(owner)["metadata"]["uid"],
    }
    route = _in(namespace, ROUTE)
    route["metadata"]["ownerReferences"] = [reference]
    kube.as_user(OPERATOR).apply(route)
    kube.delete("configmap", "owner", namespace)
    wait_for(
        lambda: kube.get("modelroute", route["metadata"]["name"], namespace) is None,
        timeout_s=60,
        what="the route is gone",
    )


def test_runtime_needs_the_right_to_create_pods(kube: Kube, namespace: str) -> None:
    alice = _grant(kube, namespace, "alice", role="perennial-edit")
    with pytest.raises(KubeError, match="right to create pods"):
        alice.run("create", "-f", "-", stdin=json.dumps(_in(namespace, RUNTIME)))
    _grant(kube, namespace, "alice", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}])
    alice.run("create", "-f", "-", stdin=json.dumps(_in(namespace, RUNTIME)))


def test_pull_secret_needs_the_right_to_read_it(kube: Kube, namespace: str) -> None:
    body = _in(namespace, MINIMAL, server={"imagePullSecrets": [{"name": "registry"}]})
    text = json.dumps(body)
    bob = _grant(kube, namespace, "bob", role="perennial-edit")
    with pytest.raises(KubeError, match="may not read: remove it"):
        bob.run("create", "--dry-run=server", "-f", "-", stdin=text)
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["registry"], "verbs": ["get"]}
    _grant(kube, namespace, "bob", rules=[rule])
    bob.run("create", "--dry-run=server", "-f", "-", stdin=text)


@pytest.mark.parametrize("where", ["model", "experiment"])
def test_store_secret_needs_the_right_to_read_it(kube: Kube, namespace: str, where: str) -> None:
    model = {"uri": "s3://models/wine.tar", "sha256": "9f2c" * 16, "secretRef": {"name": "wine-s3"}}
    variants = [{"name": "challenger", "model": model}]
    experiment = {"type": "Shadow", "variants": variants, "shadow": {"percent": 25, "maxDuration": "7d"}}
    body = _in(namespace, MINIMAL, **{where: model if where == "model" else experiment})
    text = json.dumps(body)
    carol = _grant(kube, namespace, "carol", role="perennial-edit")
    with pytest.raises(KubeError, match="may not read: remove it"):
        carol.run("create", "--dry-run=server", "-f", "-", stdin=text)
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["wine-s3"], "verbs": ["get"]}
    _grant(kube, namespace, "carol", rules=[rule])
    carol.run("create", "--dry-run=server", "-f", "-", stdin=text)


def test_somebody_else_may_edit_all_but_where_a_store_secret_goes(kube: Kube, namespace: str) -> None:
    model = {"uri": "s3://models/wine.tar", "sha256": "9f2c" * 16, "secretRef": {"name": "wine-s3"}}
    body = _in(namespace, MINIMAL, model=model)
    kube.apply(body)
    _grant(kube, namespace, "dave", role="perennial-view")
    dave = _grant(kube, namespace, "dave", role="perennial-edit")
    changes = ["patch", "modeldeployment", body["metadata"]["name"], "-n", namespace, "--type=merge"]
    dave.run(*changes, "--dry-run=server", "-p", json.dumps({"spec": {"server": {"minReplicas": 2}}}))
    elsewhere = {"spec": {"model": {"uri": "s3://elsewhere/wine.tar"}}}
    with pytest.raises(KubeError, match="may not read: remove it"):
        dave.run(*changes, "--dry-run=server", "-p", json.dumps(elsewhere))


@pytest.mark.parametrize(("role", "want"), [("view", False), ("edit", True), ("admin", True)])
def test_the_clusters_own_roles_know_modeldeployments(
    kube: Kube, namespace: str, role: str, want: bool
) -> None:
    user = _grant(kube, namespace, f"user-{role}", role=role)
    assert _can(user, "list", "modelrevisions.perennial.dev", "-n", namespace)
    assert _can(user, "create", "modeldeployments.perennial.dev", "-n", namespace) is want
    assert not _can(user, "create", "modelroutes.perennial.dev", "-n", namespace)


@pytest.mark.parametrize("user", [OPERATOR, OBSERVER, GATEWAY])
@pytest.mark.parametrize(
    "question",
    [
        ("get", "secrets"),
        ("list", "secrets"),
        ("get", "configmaps"),
        ("create", "pods"),
        ("create", "pods", "--subresource=exec"),
        ("create", "serviceaccounts", "--subresource=token"),
        ("update", "modeldeployments.perennial.dev"),
        ("create", "clusterroles"),
        ("create", "rolebindings"),
        ("list", "nodes"),
    ],
    ids=" ".join,
)
def test_our_own_processes_have_no_right_they_do_not_need(
    kube: Kube, user: str, question: tuple[str, ...]
) -> None:
    assert not _can(kube.as_user(user), *question, "--all-namespaces")


@pytest.mark.parametrize("name", ["perennial-operator", "perennial-observer", "perennial-gateway"])
def test_our_pods_fit_the_restricted_pod_security_standard(kube: Kube, namespace: str, name: str) -> None:
    kube.run("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    deployment = kube.get("deployment", name, install.NAMESPACE)
    assert deployment is not None
    pod = deployment["spec"]["template"]["spec"] | {
        "serviceAccountName": "default",
        "serviceAccount": "default",
    }
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": pod,
    }
    wait_for(
        lambda: kube.get("serviceaccount", "default", namespace),
        timeout_s=30,
        what="the default ServiceAccount",
    )
    kube.run("create", "--dry-run=server", "-f", "-", stdin=json.dumps(body))
