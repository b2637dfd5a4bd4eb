"""The real API server agrees with the models on every good and bad object of the table."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.crds.specs import BAD, GOOD, Case
from tests.e2e.support.kube import Kube, KubeError

# Only these may write the internal kinds; anybody else is refused before the schema is the question.
OPERATOR = "system:serviceaccount:perennial-system:perennial-operator"
OBSERVER = "system:serviceaccount:perennial-system:perennial-observer"
WRITERS = {
    "ModelRevision": OPERATOR,
    "ModelRoute": OPERATOR,
    "RetrainingRun": OPERATOR,
    "MonitorReport": OBSERVER,
}


def _name(case: Case) -> str:
    return f"{case.kind}: {case.name}"


@pytest.fixture(scope="module")
def empty(kube: Kube) -> Iterator[str]:
    """A namespace where no name is taken."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    kube.run("create", "namespace", name)
    yield name
    kube.delete("namespace", name, wait=False)


def _create(kube: Kube, namespace: str, case: Case) -> dict[str, Any]:
    scope = {} if case.kind == "ClusterModelRuntime" else {"namespace": namespace}
    body = {**case.body, "metadata": {**case.body["metadata"], **scope}}
    user = kube.as_user(WRITERS[case.kind]) if case.kind in WRITERS else kube
    flags = ("--dry-run=server", "--validate=strict", "-o", "json")
    return json.loads(user.run("create", *flags, "-f", "-", stdin=json.dumps(body)))


def _paths(value: Any, path: str = "") -> Iterator[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield path
    for key, inner in items:
        yield from _paths(inner, f"{path}/{key}")


@pytest.mark.parametrize("case", GOOD, ids=_name)
def test_api_server_accepts_what_the_models_accept_and_fills_in_the_same(
    kube: Kube, empty: str, case: Case
) -> None:
    body = _create(kube, empty, case)
    got, want = case.model.model_validate(body), case.model.model_validate(case.body)
    assert got.to_api().get("spec") == want.to_api().get("spec")
    # Reading has its own defaults: compare the bare objects too.
    assert set(_paths(body.get("spec", {}))) == set(_paths(want.to_api().get("spec", {})))


@pytest.mark.parametrize("case", BAD, ids=_name)
def test_api_server_refuses_what_the_models_refuse(kube: Kube, empty: str, case: Case) -> None:
    with pytest.raises(KubeError) as refused:
        _create(kube, empty, case)
    got = str(refused.value)
    assert case.says in got
    # The schema must have refused it, not the lack of a right or of a kind.
    assert "is invalid" in got or "strict decoding error" in got, got
