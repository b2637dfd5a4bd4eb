"""ModelRuntime and ClusterModelRuntime: the images that serve and train, chosen by the platform team."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from perennial_api.adapter import Adapter
from perennial_api.base import Model, Resource, Rule
from perennial_api.gateway_log import LoggedBy
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
    """Format of the model: the first three are of bundles, bento and container of a user's own image."""

    SKOPS = "skops"
    ONNX = "onnx"
    ENSEMBLE = "ensemble"
    BENTO = "bento"
    CONTAINER = "container"

    @property
    def is_image(self) -> bool:
        """Whether the model is in the runtime's image, and not in a bundle."""
        return self in {ModelFormat.BENTO, ModelFormat.CONTAINER}


class EnvironmentVariable(Model):
    """One environment variable."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """Name of the variable; those that begin with PERENNIAL_ are set by the operator and win."""
    value: Annotated[str, StringConstraints(max_length=4096)]
    """Its value."""


def _adapter_has_a_port_of_its_own(spec: "ModelRuntimeSpec") -> bool:
    return spec.adapter is None or spec.adapter.port not in {spec.port, spec.grpc_port}


def _formats_fit(spec: "ModelRuntimeSpec") -> bool:
    in_image = {known.is_image for known in spec.formats}
    if spec.adapter is None and spec.logged_by is LoggedBy.GATEWAY:
        return len(in_image) == 1
    return in_image == {spec.adapter is not None}


class ModelRuntimeSpec(Model):
    """An image and how to run it."""

    rules = (
        Rule(
            cel="!has(self.grpcPort) || self.grpcPort != self.port",
            message="grpcPort is port, where HTTP is answered: gRPC needs a port of its own",
            holds=lambda self: self.grpc_port != self.port,
        ),
        Rule(
            cel=(
                "self.formats.all(f, (f in ['bento', 'container']) == has(self.adapter))"
                " || (!has(self.adapter) && self.loggedBy == 'Gateway'"
                " && (self.formats.all(f, f in ['bento', 'container'])"
                " || self.formats.all(f, !(f in ['bento', 'container']))))"
            ),
            message=(
                "formats bento and container need adapter, which says how the image is asked, or loggedBy Gateway if it "
                "speaks the Open Inference Protocol itself; the formats of bundles take no adapter, and aren't mixed "
                "with them"
            ),
            holds=_formats_fit,
        ),
        Rule(
            cel="self.loggedBy == 'Server' || !has(self.adapter)",
            message="loggedBy Gateway is for an image that answers clients itself: behind an adapter stands a server that keeps the log, so remove one of them",
            holds=lambda self: self.logged_by is LoggedBy.SERVER or self.adapter is None,
        ),
        Rule(
            cel="self.loggedBy == 'Server' || !has(self.grpcPort)",
            message="loggedBy Gateway records REST and nothing of gRPC: remove grpcPort",
            holds=lambda self: self.logged_by is LoggedBy.SERVER or self.grpc_port is None,
        ),
        Rule(
            cel="self.loggedBy == 'Server' || self.role == 'Server'",
            message="loggedBy Gateway belongs to role Server: a Trainer answers no requests",
            holds=lambda self: self.logged_by is LoggedBy.SERVER or self.role is RuntimeRole.SERVER,
        ),
        Rule(
            cel="!has(self.adapter) || self.role == 'Server'",
            message="adapter belongs to role Server: remove it, since a model in an image isn't trained",
            holds=lambda self: self.adapter is None or self.role is RuntimeRole.SERVER,
        ),
        Rule(
            cel=(
                "!has(self.adapter) || (self.adapter.port != self.port"
                " && (!has(self.grpcPort) || self.adapter.port != self.grpcPort))"
            ),
            message=(
                "adapter.port is the image's own, in one pod with port and grpcPort, on which clients are answered: "
                "give port or grpcPort another number"
            ),
            holds=_adapter_has_a_port_of_its_own,
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
    """Model formats that it can load: skops, onnx and ensemble come in bundles; bento and container say that the model is
    in the image, which spec.model.uri of a ModelDeployment then names by runtime://<label>."""
    port: Annotated[Int, Field(ge=1024, le=65535)] = 3000
    """Port that a Server listens on, told to it as PERENNIAL_PORT."""
    grpc_port: Annotated[Int, Field(ge=1024, le=65535)] | None = None
    """Port on which a Server answers the same protocol over gRPC, told to it as PERENNIAL_GRPC_PORT; left out, it
    answers none."""
    resources: Resources = Resources()
    """Requests and limits where the ModelDeployment gives none."""
    adapter: Adapter | None = None
    """For the formats bento and container: how the image is asked for predictions. What clients see, the protocol, the
    schema's checks, the prediction log and the metrics, is as for a bundle."""
    logged_by: LoggedBy = LoggedBy.SERVER
    """Who keeps the prediction log: the Server, as ours does, or the Gateway, for an image that speaks the Open Inference
    Protocol over REST and keeps none."""


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
