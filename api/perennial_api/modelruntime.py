"""ModelRuntime and ClusterModelRuntime: the images that serve and train, chosen by the platform team."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from perennial_api.base import Model, Resource, Rule
from perennial_api.labels import API_VERSION
from perennial_api.pods import Resources
from perennial_api.types import ImageReference, Int, KeyedBy

__all__ = [
    "ClusterModelRuntime",
    "EnvironmentVariable",
    "ImagePullPolicy",
    "ModelFormat",
    "ModelRuntime",
    "ModelRuntimeSpec",
    "RuntimeRole",
]


class RuntimeRole(StrEnum):
    """What a runtime is for."""

    SERVER = "Server"
    TRAINER = "Trainer"


class ImagePullPolicy(StrEnum):
    """When the kubelet pulls the image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class ModelFormat(StrEnum):
    """Format of the model in a bundle."""

    SKOPS = "skops"
    ONNX = "onnx"
    ENSEMBLE = "ensemble"


class EnvironmentVariable(Model):
    """One environment variable."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """Name of the variable; those that begin with PERENNIAL_ are set by the operator and win."""
    value: Annotated[str, StringConstraints(max_length=4096)]
    """Its value."""


class ModelRuntimeSpec(Model):
    """An image and how to run it."""

    rules = (
        Rule(
            cel="!has(self.grpcPort) || self.grpcPort != self.port",
            message="grpcPort is port, where HTTP is answered: gRPC needs a port of its own",
            holds=lambda self: self.grpc_port != self.port,
        ),
    )

    role: RuntimeRole
    """Server serves bundles, Trainer makes new ones."""
    image: ImageReference
    """Container image."""
    image_pull_policy: ImagePullPolicy = ImagePullPolicy.IF_NOT_PRESENT
    """When the kubelet pulls the image."""
    command: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=4096)], ...], Field(max_length=64)
    ] = ()
    """Command and arguments; left out, those of the image."""
    env: Annotated[tuple[EnvironmentVariable, ...], Field(max_length=64), KeyedBy("name")] = ()
    """Environment variables beside those that the operator sets."""
    formats: Annotated[tuple[ModelFormat, ...], Field(min_length=1, max_length=8)] = (ModelFormat.SKOPS,)
    """Model formats that it can load."""
    port: Annotated[Int, Field(ge=1024, le=65535)] = 3000
    """Port that a Server listens on, told to it as PERENNIAL_PORT."""
    grpc_port: Annotated[Int, Field(ge=1024, le=65535)] | None = None
    """Port on which a Server answers the same protocol over gRPC, told to it as PERENNIAL_GRPC_PORT; left out, it
    answers none."""
    resources: Resources = Resources()
    """Requests and limits where the ModelDeployment gives none."""


class ModelRuntime(Resource):
    """An image that serves or trains models of this namespace."""

    api_version: Literal["perennial.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelRuntime"] = "ModelRuntime"
    spec: ModelRuntimeSpec
    """The image and how to run it."""


class ClusterModelRuntime(Resource):
    """An image that serves or trains models of every namespace."""

    api_version: Literal["perennial.dev/v1alpha1"] = API_VERSION
    kind: Literal["ClusterModelRuntime"] = "ClusterModelRuntime"
    spec: ModelRuntimeSpec
    """The image and how to run it."""
