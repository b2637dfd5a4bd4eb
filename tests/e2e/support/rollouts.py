"""One ModelDeployment of test servers, its traffic, and what its status says: what tests of rollouts have in common."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e.support.kube import Kube, wait_for
from tests.e2e.support.objects import ECHO_BODY, canary, deployment
from tests.e2e.support.traffic import Traffic

__all__ = ["FIRST", "SECOND", "THIRD", "World"]

FIRST = "perennial://sha256:" + "a" * 64
SECOND = "perennial://sha256:" + "b" * 64
THIRD = "perennial://sha256:" + "c" * 64
PLUGIN = Path(sys.executable).with_name("kubectl-perennial")

Json = dict[str, Any]
T = TypeVar("T")


@dataclass
class World:
    """A ModelDeployment called `echo` in a namespace of its own."""

    kube: Kube
    namespace: str
    gateway_url: str
    name: str = "echo"

    def apply(self, runtime: str = "test-good", uri: str = FIRST, **spec: Any) -> None:
        base = {"rollout": canary(50, scale_down_delay="2s")}
        self.kube.apply(deployment(self.name, self.namespace, uri, runtime, **{**base, **spec}))

    def start(self, runtime: str = "test-good", uri: str = FIRST, **spec: Any) -> str:
        """Deploy the first revision and return its name once it answers."""
        self.apply(runtime, uri, **spec)
        self.kube.wait_condition(self.name, self.namespace, "Ready", "True", timeout_s=120)
        return str(self.rollout()["stable"])

    def change(self, **spec: Any) -> None:
        """Change parts of the spec; the rest stays."""
        self.kube.patch("modeldeployment", self.name, self.namespace, {"spec": spec})

    def new_model(self, uri: str = SECOND, **spec: Any) -> None:
        self.change(model={"uri": uri}, **spec)

    def new_runtime(self, runtime: str, **spec: Any) -> None:
        self.change(server={"runtime": runtime}, **spec)

    def object(self) -> Json:
        found = self.kube.get("modeldeployment", self.name, self.namespace)
        assert found is not None
        return found

    def status(self) -> Json:
        return self.object().get("status", {})

    def rollout(self) -> Json:
        return self.status().get("rollout", {})

    def experiment(self) -> Json:
        return self.status().get("experiment", {})

    def condition(self, kind: str) -> Json:
        return self.kube.condition("modeldeployment", self.name, self.namespace, kind) or {}

    def revision(self, name: str) -> Json:
        found = self.kube.get("modelrevision", name, self.namespace)
        assert found is not None, name
        return found

    def weights(self) -> dict[str, int]:
        route = self.kube.get("modelroute", self.name, self.namespace)
        assert route is not None
        return {r["name"]: r["weightPercent"] for r in route["spec"]["revisions"]}

    def wait(self, probe: Callable[[], T | None], what: str, timeout_s: float = 60) -> T:
        """Wait for a truthy answer; a failure shows the status."""
        try:
            return wait_for(probe, timeout_s=timeout_s, what=what, interval_s=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}\nstatus: {json.dumps(self.status(), indent=1)[:6000]}") from None

    def wait_rollout(self, fits: Callable[[Json], Any], what: str, timeout_s: float = 60) -> Json:
        return self.wait(lambda: r if fits(r := self.rollout()) else None, what, timeout_s)

    def wait_weight(self, percent: int, timeout_s: float = 60) -> str:
        """Wait until the revision on trial has a weight that every router has applied; return its name."""
        found = self.wait_rollout(
            lambda r: r.get("canaryWeightPercent") == percent and r.get("stepState") != "Shifting",
            f"the new revision at {percent} %",
            timeout_s,
        )
        return str(found["canary"])

    def wait_promoted(self, was: str, timeout_s: float = 90) -> str:
        found = self.wait_rollout(
            lambda r: r.get("stable") not in (None, was) and r["phase"] == "Healthy",
            f"a revision other than {was} promoted",
            timeout_s,
        )
        return str(found["stable"])

    def wait_rolled_back(self, timeout_s: float = 90) -> Json:
        return self.wait_rollout(lambda r: r["phase"] == "Degraded", "rolled back", timeout_s)

    @property
    def infer_url(self) -> str:
        return f"{self.gateway_url}/{self.namespace}/{self.name}/v2/models/{self.name}/infer"

    def traffic(self, rate_per_s: float = 60, **options: Any) -> Traffic:
        return Traffic(self.infer_url, ECHO_BODY, rate_per_s=rate_per_s, **options)

    def perennial(self, *args: str, ok: bool = True, timeout_s: float = 90) -> str:
        """Run the plugin as a user does; return what it printed."""
        done = subprocess.run(
            [PLUGIN, *args, "-n", self.namespace],
            env=self.kube.env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert (done.returncode == 0) == ok, f"{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if ok else done.stdout + done.stderr
