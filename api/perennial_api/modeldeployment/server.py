"""`spec.server`: how the model is served."""

from typing import Annotated

from pydantic import Field

from perennial_api.base import Model
from perennial_api.pods import LocalObjectReference, NodeSelector, Resources, Toleration
from perennial_api.types import Int, KeyedBy, Name

__all__ = ["Server"]


class Server(Model):
    """The model server's pods. Image and command come from the runtime, never from here."""

    runtime: Name = "bentoml-skops"
    """Name of a ModelRuntime of this namespace, or else of a ClusterModelRuntime, with role Server."""
    min_replicas: Annotated[Int, Field(ge=1, le=100)] = 1
    """How many pods serve each revision that may get traffic, 1 to 100."""
    resources: Resources = Resources()
    """Requests and limits of each server pod; what is left out comes from the runtime."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Taints that the server's pods accept."""
    node_selector: NodeSelector = Field(default={})
    """Labels that a node must have to run the server's pods."""
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...], Field(max_length=8), KeyedBy("name")] = ()
    """Secrets of this namespace with which the kubelet pulls the runtime's image."""
