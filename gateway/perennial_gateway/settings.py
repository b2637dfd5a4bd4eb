"""Settings of the two containers of a gateway pod, read from the environment once at start."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class SharedSettings(BaseSettings):
    """What both containers must agree on."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_", extra="ignore")

    gateway_directory: Path = Field(
        default=Path("/var/run/perennial-gateway"),
        description="Directory shared by Envoy and the router agent (an emptyDir): Envoy's files and admin socket.",
    )
    pod_name: str = Field(default="gateway", description="Name of this gateway pod, from the downward API.")
    agent_port: int = Field(
        default=9902,
        ge=0,
        le=65535,
        description="Port of the router agent: /status, /applied, /jwks, /healthz, /readyz and /metrics.",
    )

    @property
    def admin_socket(self) -> Path:
        """Envoy's admin interface; a socket, so that no port of it can be reached from outside."""
        return self.gateway_directory / "admin.sock"

    @property
    def bootstrap_path(self) -> Path:
        """Envoy's bootstrap, written anew at each start of Envoy."""
        return self.gateway_directory / "bootstrap.json"

    @property
    def cds_path(self) -> Path:
        """Envoy's clusters."""
        return self.gateway_directory / "cds.json"

    @property
    def rds_path(self) -> Path:
        """Envoy's routes."""
        return self.gateway_directory / "rds.json"

    @property
    def pins_path(self) -> Path:
        """Envoy's routes of the pinning port."""
        return self.gateway_directory / "pins.json"

    @property
    def shadow_socket(self) -> Path:
        """Where Envoy's inner listener takes copied requests."""
        return self.gateway_directory / "shadow.sock"

    @property
    def clients_socket(self) -> Path:
        """Where the agent hears which clients a sticky route has served."""
        return self.gateway_directory / "clients.sock"

    @property
    def capture_socket(self) -> Path:
        """Where the agent takes what revisions without a log of their own were asked and have answered."""
        return self.gateway_directory / "capture.sock"

    @property
    def clients_path(self) -> Path:
        """The clients counted so far, as hashes, for an agent that restarts."""
        return self.gateway_directory / "clients.json"

    @property
    def last_good_path(self) -> Path:
        """The routes that Envoy has confirmed, for an agent that restarts."""
        return self.gateway_directory / "last-good.json"


class EnvoySettings(SharedSettings):
    """Settings of the Envoy container (`run-envoy`)."""

    envoy_binary: str = Field(default="envoy", description="Envoy's executable, looked up on PATH.")
    envoy_concurrency: int = Field(default=2, ge=1, le=64, description="Envoy's worker threads.")
    listen_address: str = Field(default="0.0.0.0", description="Address that Envoy listens on.")  # noqa: S104
    listen_port: int = Field(default=8080, ge=1, le=65535, description="Port that Envoy listens on.")
    pin_port: int = Field(
        default=8443,
        ge=1,
        le=65535,
        description="Port for authenticated clients that name the revision which answers.",
    )
    pin_audience: str = Field(
        default="perennial-gateway",
        description="Audience that a ServiceAccount's token must have on the pinning port.",
    )
    observer_host: str = Field(
        default="perennial-observer.perennial-system.svc.cluster.local",
        description="Host of the observer, which gets feedback.",
    )
    observer_port: int = Field(default=80, ge=1, le=65535, description="Port of the observer.")
    max_connections: int = Field(
        default=10_000, ge=1, description="Open client connections; more are refused."
    )
    max_heap_bytes: int = Field(
        default=400 * 1024 * 1024,
        ge=64 * 1024 * 1024,
        description="Envoy's heap in bytes, above 95 % of which requests are refused; keep it below the memory limit.",
    )


class AgentSettings(SharedSettings):
    """Settings of the router agent's container (`run`)."""

    agent_address: str = Field(default="0.0.0.0", description="Address that the agent listens on.")  # noqa: S104
    cluster_domain: str = Field(default="cluster.local", description="DNS domain of the Kubernetes cluster.")
    gateway_url: str = Field(
        default="http://perennial-gateway.perennial-system",
        description="The gateway's address, as error messages give it.",
    )
    apply_timeout_s: float = Field(
        default=10.0,
        gt=0,
        description="Seconds that Envoy gets to take up a file before it counts as unavailable.",
    )
    ready_lag_s: float = Field(
        default=15.0,
        gt=0,
        description="Seconds that Envoy may lag behind the routes before the pod turns unready.",
    )
    cluster_grace_s: float = Field(
        default=5.0,
        ge=0,
        description="Seconds that an unused cluster is kept at least after its last route is gone.",
    )
    cluster_drain_s: float = Field(
        default=330.0,
        gt=0,
        description="Seconds after which an unused cluster goes even if requests are still active.",
    )
    stale_after_s: float = Field(
        default=15.0,
        gt=0,
        description="Seconds without word from the API server after which the other gateway pods are asked whether "
        "they know newer routes; if so, the pod turns unready.",
    )
    peers_host: str = Field(
        default="",
        description="Host name of all gateway pods (a headless Service); empty asks none.",
    )
    most_clients: int = Field(
        default=500_000,
        ge=1_000,
        description="Clients of sticky routes that are counted at most, over all routes; 100 bytes each.",
    )
    observer_url: str = Field(
        default="http://perennial-observer.perennial-system",
        description="Address of the observer, which gets the prediction log of servers that keep none.",
    )
    token_file: Path | None = Field(
        default=None, description="File with the token for the observer; left out, none is sent."
    )
    log_queue_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1024 * 1024,
        description="Bytes of requests and answers that wait to be logged; above it the oldest are dropped and counted.",
    )
    log_batch_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        description="Bytes of requests and answers that are sent to the observer at a time.",
    )
    log_interval_s: float = Field(
        default=1.0,
        gt=0,
        description="Seconds between two batches of the prediction log, unless one is full.",
    )
    log_timeout_s: float = Field(
        default=10.0, gt=0, description="Seconds for one attempt to send a batch to the observer."
    )
    log_attempts: int = Field(
        default=6, ge=1, le=20, description="Attempts to send a batch before it is dropped and counted."
    )
    log_unknown_s: float = Field(
        default=60.0,
        ge=0,
        description="Seconds that a batch for a deployment which the observer doesn't know waits until it does; then it is "
        "dropped and counted.",
    )
    resync_s: float = Field(
        default=300.0,
        gt=0,
        description="Seconds after which routes and endpoints are listed anew (jittered).",
    )
    request_timeout_s: float = Field(
        default=10.0, gt=0, description="Seconds for one call to the API server."
    )


class DrainSettings(SharedSettings):
    """Settings of the Envoy container's preStop hook (`drain`)."""

    drain_min_s: float = Field(
        default=5.0,
        ge=0,
        description="Seconds to go on accepting, until every client's endpoint list has changed.",
    )
    drain_max_s: float = Field(
        default=305.0, gt=0, description="Seconds to wait for active requests; below the pod's grace period."
    )
