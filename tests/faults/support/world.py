"""A namespace with one ModelDeployment, an operator of its own behind a fault proxy, and the user's hands."""

import contextlib
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from perennial.cluster.kinds import KINDS
from perennial_api.labels import ANNOTATION_COMMAND, API_VERSION
from perennial_localcluster.api import ApiClient, ApiError

from tests.e2e.support.kube import wait_for
from tests.e2e.support.objects import ECHO_BODY, deployment
from tests.e2e.support.traffic import Traffic
from tests.faults.support import oracle
from tests.faults.support.calls import WriteClass
from tests.faults.support.operator import SHORT_TIMES, HostOperator
from tests.faults.support.proxy import FaultProxy
from tests.faults.support.upstream import Upstream

FIRST, SECOND, THIRD = (f"perennial://sha256:{digit * 64}" for digit in "abc")
GOOD, ERRING = "faults-good", "faults-erring"
NAME = "echo"
CHALLENGER = "challenger"
SYSTEM = "perennial-system"
QUIET_S = 2.0

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """The cluster that all worlds share.

    Attributes
    ----------
    token
        Of the operator's ServiceAccount: the host's operators have no right that the cluster's hasn't.
    """

    api: ApiClient
    upstream: Upstream
    token: str
    gateway_url: str


@dataclass
class World:
    """What one run of one workload sees."""

    site: Site
    namespace: str
    proxy: FaultProxy
    operator: HostOperator

    def apply(self, uri: str = FIRST, runtime: str = GOOD, *, name: str = NAME, **spec: Any) -> None:
        """Apply a ModelDeployment as a user does: what isn't named goes back to its default."""
        obj = deployment(name, self.namespace, uri, runtime, **spec)
        path = KINDS["ModelDeployment"].path(self.namespace, name)
        self.site.api.request("PATCH", f"{path}?fieldManager=user&force=true", obj)

    def say(self, verb: str, **words: Any) -> None:
        """Say a verb as `kubectl perennial` does, without waiting for the answer."""
        command = json.dumps({"id": uuid.uuid4().hex, "verb": verb, **words})
        metadata = {"name": NAME, "namespace": self.namespace, "annotations": {ANNOTATION_COMMAND: command}}
        path = KINDS["ModelDeployment"].path(self.namespace, NAME)
        body = {"apiVersion": API_VERSION, "kind": "ModelDeployment", "metadata": metadata}
        self.site.api.request("PATCH", f"{path}?fieldManager=user-verbs&force=true", body)

    def delete(self) -> None:
        self.site.api.request("DELETE", KINDS["ModelDeployment"].path(self.namespace, NAME))

    def get(self, kind: str, name: str = NAME) -> Json:
        """Read one object; an empty dict if it isn't there."""
        try:
            found: Json = self.site.api.request("GET", KINDS[kind].path(self.namespace, name))
        except ApiError as error:
            if error.status == 404:
                return {}
            raise
        return found

    def list(self, kind: str, name: str = NAME) -> list[Json]:
        """Read the children of one kind."""
        items: list[Json] = self.site.api.request("GET", KINDS[kind].path(self.namespace))["items"]
        return [item for item in items if item["metadata"].get("labels", {}).get(oracle.LABEL) == name]

    def rollout(self) -> Json:
        rollout: Json = (self.get("ModelDeployment").get("status") or {}).get("rollout") or {}
        return rollout

    def arm(self) -> Json:
        """Return the experiment's first arm beside the stable revision."""
        experiment = (self.get("ModelDeployment").get("status") or {}).get("experiment") or {}
        arms: list[Json] = [a for a in experiment.get("arms", []) if a["name"] == CHALLENGER]
        return arms[0] if arms else {}

    def is_ready(self) -> bool:
        obj = self.get("ModelDeployment")
        status = obj.get("status") or {}
        conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
        seen = status.get("observedGeneration") == obj.get("metadata", {}).get("generation")
        return seen and conditions.get("Ready") == "True"

    def is_promoted(self) -> bool:
        """Whether one revision serves alone, and the pods of all others have gone."""
        rollout = self.rollout()
        return rollout.get("phase") == "Healthy" and len(self.list("Deployment")) == 1 and self.is_ready()

    def wait(self, probe: Callable[[], T], what: str, timeout_s: float = 180) -> T:
        """Wait for a truthy answer; a failure shows the status and the end of the operator's log."""
        try:
            return wait_for(probe, timeout_s=timeout_s, what=what, interval_s=0.25)
        except AssertionError as error:
            status = json.dumps(self.get("ModelDeployment").get("status"), indent=1)[:4000]
            log = "\n".join(self.operator.log.read_text(errors="replace").splitlines()[-30:])
            raise AssertionError(f"{error}\nstatus: {status}\noperator:\n{log}") from None

    def is_quiet(self) -> bool:
        """Whether the operator has written nothing for a moment."""
        since = time.monotonic() - QUIET_S
        return not any(
            r.at_s > since and r.call.write_class is WriteClass.NUMBERED for r in self.proxy.records()
        )

    def traffic(self, rate_per_s: float, workers: int = 2) -> Traffic:
        url = f"{self.site.gateway_url}/{self.namespace}/{NAME}/v2/models/{NAME}/infer"
        return Traffic(url, ECHO_BODY, rate_per_s=rate_per_s, workers=workers)

    def state(self) -> oracle.State:
        return oracle.observe_state(self.site.api, self.namespace, NAME)


@contextmanager
def open_world(site: Site, label: str, settings: Mapping[str, str] = SHORT_TIMES) -> Iterator[World]:
    """Make a world and take it down again."""
    namespace = f"f-{label}-{uuid.uuid4().hex[:6]}"
    with make_namespace(site, namespace), tempfile.TemporaryDirectory(prefix="faults-") as directory:
        lease = f"faults-{namespace}"
        with (
            open_proxy(site, namespace, Path(directory), namespace) as proxy,
            open_operator(site, proxy, Path(directory), lease, settings) as operator,
        ):
            yield World(site, namespace, proxy, operator)
        drop_lease(site, lease)


@contextmanager
def make_namespace(site: Site, namespace: str) -> Iterator[None]:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    site.api.request("POST", "/api/v1/namespaces", body)
    try:
        yield
    finally:
        site.api.request("DELETE", f"/api/v1/namespaces/{namespace}")


def open_proxy(site: Site, name: str, directory: Path, namespace: str) -> FaultProxy:
    """Build the way to the API server of an operator that is to see one namespace only."""
    scope = {kind.path(): kind.path(namespace) for kind in KINDS.values() if kind.namespaced}
    return FaultProxy(site.upstream, directory, name=name, scope=scope)


def open_operator(
    site: Site, proxy: FaultProxy, directory: Path, lease: str, settings: Mapping[str, str]
) -> HostOperator:
    """Build an operator that goes through a proxy which is running."""
    own = {
        "KUBECONFIG": str(proxy.write_kubeconfig(site.token)),
        "NAMESPACE": SYSTEM,
        "POD_NAME": proxy.name,
        "LEASE_NAME": lease,
    }
    return HostOperator(directory / "operator.log", {**own, **settings})


def drop_lease(site: Site, name: str) -> None:
    with contextlib.suppress(ApiError):  # an operator that never led has none
        site.api.request("DELETE", KINDS["Lease"].path(SYSTEM, name))
