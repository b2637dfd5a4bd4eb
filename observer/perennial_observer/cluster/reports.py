"""Writes MonitorReports."""

from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import client
from perennial_api import MonitorReport
from perennial_api.base import ObjectMeta
from perennial_api.labels import API_VERSION, GROUP, LABEL_DEPLOYMENT, LABEL_MANAGED_BY, MANAGED_BY, VERSION
from perennial_api.monitorreport import MonitorReportStatus

from perennial_observer.cluster.client import unavailable
from perennial_observer.errors import Forbidden
from perennial_observer.store.rows import DeploymentKey

__all__ = ["ClusterReports"]

PLURAL = "monitorreports"
FIELD_MANAGER = "perennial-observer"
NOT_FOUND, CONFLICT = 404, 409


@dataclass(frozen=True)
class ClusterReports:
    """Implements :class:`~perennial_observer.reporting.ReportWriter` on the API server."""

    api: client.ApiClient
    timeout_s: float

    async def write(self, key: DeploymentKey, status: MonitorReportStatus) -> None:
        """Write the status of the deployment's MonitorReport, making it on first need.

        Raises
        ------
        Forbidden
            If a MonitorReport of that name belongs to somebody else; it is left alone.
        Unavailable
            If the API server doesn't answer.
        """
        try:
            try:
                await self._patch(key, status)
            except client.ApiException as error:
                if error.status != NOT_FOUND:
                    raise
                await self._create(key)
                await self._patch(key, status)
        except (client.ApiException, aiohttp.ClientError, TimeoutError) as error:
            raise unavailable(error) from error

    async def _patch(self, key: DeploymentKey, status: MonitorReportStatus) -> None:
        custom = client.CustomObjectsApi(self.api)
        found: Any = await custom.get_namespaced_custom_object(
            GROUP, VERSION, key.namespace, PLURAL, key.name, _request_timeout=self.timeout_s
        )
        meta = found["metadata"]
        if key.uid not in {owner["uid"] for owner in meta.get("ownerReferences", [])}:
            raise Forbidden(
                f"MonitorReport {key.namespace}/{key.name} belongs to somebody else: delete it", "NameTaken"
            )
        body = MonitorReport(
            metadata=ObjectMeta(name=key.name, namespace=key.namespace, uid=meta["uid"]), status=status
        ).to_api()
        body["metadata"] = {"name": key.name, "namespace": key.namespace, "uid": meta["uid"]}
        await custom.patch_namespaced_custom_object_status(
            GROUP,
            VERSION,
            key.namespace,
            PLURAL,
            key.name,
            body,
            field_manager=FIELD_MANAGER,
            force=True,
            _content_type="application/apply-patch+yaml",
            _request_timeout=self.timeout_s,
        )

    async def _create(self, key: DeploymentKey) -> None:
        body = {
            "apiVersion": API_VERSION,
            "kind": "MonitorReport",
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "labels": {LABEL_MANAGED_BY: MANAGED_BY, LABEL_DEPLOYMENT: key.name},
                "ownerReferences": [
                    {
                        "apiVersion": API_VERSION,
                        "kind": "ModelDeployment",
                        "name": key.name,
                        "uid": key.uid,
                        "controller": True,
                    }
                ],
            },
        }
        try:
            await client.CustomObjectsApi(self.api).create_namespaced_custom_object(
                GROUP,
                VERSION,
                key.namespace,
                PLURAL,
                body,
                field_manager=FIELD_MANAGER,
                _request_timeout=self.timeout_s,
            )
        except client.ApiException as error:
            if error.status != CONFLICT:
                raise
