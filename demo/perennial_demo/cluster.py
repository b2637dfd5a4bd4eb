"""The cluster as a user reaches it: kubectl, and the gateway's address."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from perennial_api import ModelDeployment, ModelRevision, MonitorReport, RetrainingRun

from perennial_demo.errors import DemoError

KUBECTL_TIMEOUT_S = 60.0
REACH_TIMEOUT_S = 3.0
FORWARD_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Snapshot:
    """One look at a deployment and all that belongs to it."""

    deployment: ModelDeployment | None = None
    revisions: tuple[ModelRevision, ...] = ()
    runs: tuple[RetrainingRun, ...] = ()
    report: MonitorReport | None = None


class Cluster:
    """Runs kubectl.

    Parameters
    ----------
    environment
        With KUBECONFIG, and kubectl on PATH.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)

    async def kubectl(
        self, *arguments: str, stdin: str | None = None, timeout_s: float = KUBECTL_TIMEOUT_S
    ) -> str:
        """Run kubectl and return what it printed.

        Raises
        ------
        DemoError
            With what kubectl said.
        """
        return await self.run("kubectl", *arguments, stdin=stdin, timeout_s=timeout_s)

    async def run(self, *command: str, stdin: str | None = None, timeout_s: float = KUBECTL_TIMEOUT_S) -> str:
        """Run a program with the cluster's environment and return what it printed; raises DemoError."""
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(
                process.communicate(stdin.encode() if stdin is not None else None), timeout_s
            )
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise DemoError(f"`{' '.join(command[:4])}` took longer than {timeout_s:.0f} s") from error
        if process.returncode != 0:
            said = (err or out).decode(errors="replace").strip()
            raise DemoError(f"`{' '.join(command[:4])}` failed: {said[-1500:]}")
        return out.decode()

    async def observe(self, namespace: str, name: str) -> Snapshot:
        """Read the deployment, its revisions, runs and report in one call."""
        kinds = "modeldeployments,modelrevisions,retrainingruns,monitorreports"
        items = json.loads(await self.kubectl("get", kinds, "-n", namespace, "-o", "json"))["items"]
        return parse_snapshot(items, name)


def parse_snapshot(items: list[dict[str, Any]], name: str) -> Snapshot:
    """Sort the objects of a namespace; those of other deployments are left out."""
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        by_kind.setdefault(item["kind"], []).append(item)
    deployments = [d for d in by_kind.get("ModelDeployment", []) if d["metadata"]["name"] == name]
    reports = [r for r in by_kind.get("MonitorReport", []) if r["metadata"]["name"] == name]
    return Snapshot(
        deployment=ModelDeployment.model_validate(deployments[0]) if deployments else None,
        revisions=tuple(
            ModelRevision.model_validate(r)
            for r in by_kind.get("ModelRevision", [])
            if r["spec"]["deployment"] == name
        ),
        runs=tuple(
            RetrainingRun.model_validate(r)
            for r in by_kind.get("RetrainingRun", [])
            if r["spec"]["deployment"] == name
        ),
        report=MonitorReport.model_validate(reports[0]) if reports else None,
    )


class GatewayAccess:
    """The gateway's address as this process reaches it: its ClusterIP on a native cluster, else a port-forward."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._forward: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> str:
        service = json.loads(
            await self._cluster.kubectl(
                "get", "service", "perennial-gateway", "-n", self._namespace, "-o", "json"
            )
        )
        direct = f"http://{service['spec']['clusterIP']}"
        if await _answers(direct):
            return direct
        self._forward = await asyncio.create_subprocess_exec(
            "kubectl",
            "port-forward",
            "service/perennial-gateway",
            ":80",
            "-n",
            self._namespace,
            env=self._cluster.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self._forward.stdout is not None
        line = (await asyncio.wait_for(self._forward.stdout.readline(), FORWARD_TIMEOUT_S)).decode()
        if "127.0.0.1:" not in line:
            raise DemoError(
                "The gateway can be reached neither by its ClusterIP nor by kubectl port-forward."
            )
        return f"http://127.0.0.1:{line.split('127.0.0.1:')[1].split()[0]}"

    async def __aexit__(self, *_: object) -> None:
        if self._forward is not None and self._forward.returncode is None:
            self._forward.terminate()
            await self._forward.wait()


async def _answers(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=REACH_TIMEOUT_S) as client:
            await client.get(url)
    except httpx.HTTPError:
        return False
    return True
