"""Everything that can be set from outside, with its unit."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from perennial_observer.webhooks.targets import MAX_TARGETS, WebhookTarget

__all__ = ["Settings"]


class Settings(BaseSettings):
    """Read from environment variables with the prefix ``PERENNIAL_``."""

    # Addresses of receivers and of the database hold secrets; an error that names the input would log them.
    model_config = SettingsConfigDict(env_prefix="PERENNIAL_", frozen=True, hide_input_in_errors=True)

    host: str = Field("0.0.0.0", description="Address that the HTTP API listens on")  # noqa: S104
    port: int = Field(8080, description="Port of the HTTP API")
    data_dir: Path = Field(Path("/var/lib/perennial"), description="Volume for the database and the bundles")
    database_url: str = Field(
        "",
        description="postgresql+psycopg://user:password@host:5432/database; empty: SQLite in the data directory",
    )
    lease_s: float = Field(
        20.0,
        gt=0,
        description="How long the work of an observer that died waits for another one at the same database, seconds",
    )
    namespace: str = Field(
        "perennial-system", description="Namespace of the installation, where pushers and the gateway live"
    )
    pusher_service_account: str = Field(
        "perennial-pusher", description="ServiceAccount that may push bundles"
    )
    gateway_service_account: str = Field(
        "perennial-gateway",
        description="ServiceAccount of the gateway, which logs for servers that keep no log themselves",
    )
    audience: str = Field("perennial-observer", description="Audience that a caller's token must have")
    auth_cache_s: float = Field(60.0, description="Seconds that an accepted token is remembered")
    kubernetes_timeout_s: float = Field(
        10.0, description="Longest wait for one answer of the API server, seconds"
    )

    max_body_bytes: int = Field(32 << 20, description="Largest JSON body after decompression, bytes")
    max_feedback_bytes: int = Field(4 << 20, description="Largest feedback body after decompression, bytes")
    max_requests: int = Field(256, description="Requests served at once; beyond: 503")
    max_bundle_bytes: int = Field(2 << 30, description="Largest bundle or dataset, bytes")
    write_queue_bytes: int = Field(
        64 << 20, description="Log entries waiting to be written, bytes; beyond: 429"
    )
    max_database_bytes: int = Field(
        20 << 30,
        description="Size of the database beyond which log entries get 429, of the logs in it on PostgreSQL, bytes",
    )
    min_free_bytes: int = Field(
        256 << 20, description="Space on the volume that bundles and logs leave free, bytes"
    )

    event_lateness_s: float = Field(
        3600.0, description="How far event times may arrive out of order, seconds"
    )
    arrival_lateness_s: float = Field(
        30.0, description="The same where arrival stands in for event time, seconds"
    )
    max_future_s: float = Field(
        86_400.0, description="Event times further ahead of the clock are rejected, seconds"
    )
    retention_s: float = Field(
        90 * 86_400.0,
        description="Longest that predictions and labels are kept after their arrival, seconds; a ModelDeployment's"
        " monitoring.retention.maxAge may be shorter",
    )
    max_log_bytes: int = Field(
        10 << 30,
        description="Room beyond which a ModelDeployment's oldest predictions and labels go, bytes; its"
        " monitoring.retention.maxSize may be smaller",
    )
    window_retention_s: float = Field(
        365 * 86_400.0,
        description="How long verdicts on windows are kept, seconds; never shorter than PERENNIAL_RETENTION_S",
    )
    max_references_bytes: int = Field(
        256 << 20,
        ge=8 << 20,
        description="Memory for references and what monitors have made of them, bytes; beyond, those used longest ago go"
        " and are read again when a window of theirs closes",
    )
    prepare_wait_s: float = Field(
        2.0,
        ge=0,
        description="How long one look waits in all for what takes long, such as a reference's file or forests; what isn't"
        " ready then is made beside the looks, and its windows are judged in a later one, seconds",
    )
    references_kept: int = Field(
        20, description="Latest reference samples that each ModelDeployment keeps whatever their age"
    )
    pending_label_s: float = Field(86_400.0, description="How long a label waits for its prediction, seconds")
    max_pending_labels: int = Field(
        100_000, description="Labels waiting for their prediction, per deployment"
    )
    max_rejected_rows: int = Field(
        10_000, description="Latest rows that are kept apart because they don't fit, per deployment"
    )

    compare_interval_s: float = Field(
        2.0, description="Pause between two counts of revisions that answer side by side, seconds"
    )
    tick_s: float = Field(5.0, description="Pause between two looks at the windows, seconds")
    windows_per_tick: int = Field(20, description="Windows that one monitor evaluates in one look")
    report_interval_s: float = Field(
        15.0, description="Statistics in a MonitorReport are at most this old, seconds"
    )
    router_host: str = Field(
        "perennial-gateway-agents",
        description="DNS name of all gateway pods, whose router agents count requests",
    )
    router_port: int = Field(9902, description="Port of the router agents")
    router_timeout_s: float = Field(2.0, gt=0, description="Longest wait for a router agent, seconds")
    router_interval_s: float = Field(
        15.0, gt=0, description="Pause between two looks at the router agents' counts, seconds"
    )
    custom_urls: tuple[str, ...] = Field(
        (),
        description="Addresses that a monitor of type Custom may name, each with all below it, as a JSON list; the"
        " observer asks no other",
    )
    custom_modules: tuple[str, ...] = Field(
        (),
        description="Python packages in the observer's image whose functions a monitor of type Custom may name, each"
        " with all below it, as a JSON list",
    )
    custom_memory_bytes: int = Field(
        512 << 20,
        ge=64 << 20,
        description="Most data that the process of a Custom monitor's function may hold, bytes; two run at once",
    )
    reference_uris: tuple[str, ...] = Field(
        (),
        description="Where files lie that `reference.uri` may name, `s3://bucket/folder` or `file:///folder`, each with"
        " all below it, as a JSON list; the observer reads no other",
    )
    webhooks: tuple[WebhookTarget, ...] = Field(
        (),
        max_length=MAX_TARGETS,
        description='Receivers of alarms, as JSON: `[{"url": "https://…", "minSeverity": "Page"}]`',
    )
    detector_socket: Path = Field(
        Path("/var/run/perennial-detectors/detectors.sock"), description="Unix socket of the detector sidecar"
    )
    detector_timeout_s: float = Field(30.0, description="Longest wait for one answer of the sidecar, seconds")
