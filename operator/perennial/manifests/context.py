"""What every builder needs beside its own subject: whose child it makes, and where the installation is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perennial_api.labels import API_VERSION, LABEL_DEPLOYMENT, LABEL_MANAGED_BY, MANAGED_BY

__all__ = ["Installation", "Manifest", "Owner", "build_labels", "build_metadata"]

Manifest = dict[str, Any]
"""A Kubernetes object as JSON: the API server's own boundary type."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the installation's services are, and limits of its Jobs.

    Attributes
    ----------
    gateway_host
        DNS name of the gateway's Service, to which each deployment's own name points.
    observer_url
        Base URL of the observer, told to servers and trainers.
    job_deadline_s
        Longest run of a retraining Job.
    """

    gateway_host: str
    observer_url: str
    job_deadline_s: int = 3600


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that a child belongs to and is deleted with."""

    kind: str
    name: str
    namespace: str
    uid: str
    deployment: str
    """Name of the ModelDeployment, itself or the owner's own."""

    def reference(self) -> Manifest:
        """Build the owner reference; not blocking, which would need a right on the owner's finalizers."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


def build_labels(deployment: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Build the labels that every child carries, by which the watches select."""
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_DEPLOYMENT: deployment, **(extra or {})}


def build_metadata(owner: Owner, name: str, labels: Mapping[str, str] | None = None) -> Manifest:
    """Build a child's metadata."""
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": build_labels(owner.deployment, labels),
        "ownerReferences": [owner.reference()],
    }
