"""The operator's settings, read once from the environment."""

import socket

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Environment variables of the operator, each with the prefix PERENNIAL_."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_", frozen=True, extra="ignore")

    namespace: str = Field("perennial-system", description="Namespace of the installation.")
    pod_name: str = Field(
        default_factory=socket.gethostname, description="Name of this replica, shown as the Lease's holder."
    )
    kubeconfig: str | None = Field(
        None, description="Path of a kubeconfig; left out, the pod's ServiceAccount is used."
    )
    gateway_host: str = Field(
        "perennial-gateway.perennial-system.svc.cluster.local",
        description="DNS name of the gateway's Service.",
    )
    observer_url: str = Field(
        "http://perennial-observer.perennial-system.svc.cluster.local",
        description="Base URL of the observer.",
    )
    gateway_selector: str = Field(
        "app.kubernetes.io/name=perennial,app.kubernetes.io/component=gateway",
        description="Labels of the gateway's pods in the installation's namespace.",
    )
    router_port: int = Field(9902, description="Port of the router agents.")
    router_timeout_s: float = Field(2.0, gt=0, description="Longest wait for a router agent, in seconds.")
    router_max_age_s: float = Field(
        0.3, ge=0, description="How old a router's answer may be when another pass asks, in seconds."
    )
    http_host: str = Field("0.0.0.0", description="Address for /healthz and /metrics.")  # noqa: S104 - a pod's own
    http_port: int = Field(8080, description="Port for /healthz and /metrics.")
    api_timeout_s: float = Field(15.0, gt=0, description="Longest call to the API server, in seconds.")
    pass_timeout_s: float = Field(
        90.0, gt=0, description="Longest pass over one ModelDeployment, in seconds."
    )
    workers: int = Field(4, ge=1, le=64, description="How many ModelDeployments are worked on at a time.")
    resync_s: float = Field(
        120.0,
        gt=0,
        description="After how long every ModelDeployment is looked at again, in seconds, +-20 %.",
    )
    lease_name: str = Field("perennial-operator", description="Name of the Lease by which one replica leads.")
    lease_duration_s: float = Field(
        15.0, gt=0, description="After how long without renewal another replica takes over, in seconds."
    )
    lease_renew_deadline_s: float = Field(
        10.0,
        gt=0,
        description="How long a replica leads after its last renewal, in seconds; below the duration.",
    )
    lease_retry_s: float = Field(
        2.0, gt=0, description="How often the Lease is renewed or looked at, in seconds."
    )
    drain_timeout_s: float = Field(
        300.0,
        ge=0,
        description="How long after rollout.scaleDownDelay a replaced revision's pods go with requests still under way, "
        "in seconds.",
    )
    verify_interval_s: float = Field(
        0.5, gt=0, description="How often routers are asked while a weight is being applied, in seconds."
    )
    scaling_interval_s: float = Field(
        5.0,
        gt=0,
        description="How often the routers are read for the load of deployments that scale, in seconds.",
    )
    scaling_window_s: float = Field(
        15.0, gt=0, description="Over how long the load is averaged, in seconds; at least two readings long."
    )
    monitor_refresh_s: float = Field(
        60.0,
        gt=0,
        description="How often statistics are copied to the status while no state changes, in seconds.",
    )
    prometheus_addresses: tuple[str, ...] = Field(
        (),
        description="Addresses that a metric of type Prometheus may name, as a JSON list; the operator asks no other.",
    )
    prometheus_timeout_s: float = Field(5.0, gt=0, description="Longest query to Prometheus, in seconds.")
    job_deadline_s: int = Field(3600, gt=0, description="Longest run of a retraining Job, in seconds.")
    watch_max_age_s: float = Field(
        180.0,
        gt=0,
        description="How long a watch may be silent before /healthz fails, in seconds; the API server sends a "
        "bookmark every minute.",
    )
    log_level: str = Field("INFO", description="Level of the log: DEBUG, INFO, WARNING or ERROR.")
