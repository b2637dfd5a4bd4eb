"""Everything that a model server reads from its environment."""

from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from perennial_server.adapting.declaration import Declaration

MIB = 2**20
GIB = 2**30


class Settings(BaseSettings):
    """Settings of a model server; each is an environment variable ``PERENNIAL_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_", frozen=True, extra="ignore")

    namespace: str = Field(description="Namespace of the ModelDeployment.")
    deployment: str = Field(description="Name of the ModelDeployment, and of the model in v2 paths.")
    revision: str = Field(description="Name of the ModelRevision, and the model's version in v2 paths.")
    bundle_uri: str = Field(
        description="perennial://sha256:<hex>, file:///<path>, s3://<bucket>/<path>, gs://<bucket>/<path>, "
        "az://<container>/<path> or https://<host>/<path>: a tar, or the folder of a bundle's files; beside an adapter: "
        "runtime://<label>, which nothing is fetched from."
    )
    adapter: Annotated[Declaration | None, NoDecode] = Field(
        default=None,
        description="How the model in an image of its own is asked, as JSON (docs/seams.md); none: it is in a bundle.",
    )
    bundle_sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="Digest that the bundle must have (hex)."
    )
    observer_url: str | None = Field(
        default=None, description="Address of the observer; none: nothing is logged."
    )
    token_file: Path | None = Field(default=None, description="File with the token for the observer.")
    log_mode: Literal["All", "Request", "Response", "None"] = Field(
        default="All",
        description="What is logged of a prediction: inputs (Request), outputs (Response) or both.",
    )
    log_percent: int = Field(
        default=100,
        ge=1,
        le=100,
        description="Share of predictions that is logged, chosen by id, in percent.",
    )
    log_exclude: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(), description="Columns that never leave the server, separated by commas."
    )
    sink_url: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="Where predictions go as CloudEvents, beside the observer; none: nowhere.",
    )
    outlier_detector: Literal["Mahalanobis", "KNN"] | None = Field(
        default=None,
        description="By what each answer says how odd its rows are: Mahalanobis or KNN; none: it doesn't.",
    )
    outlier_contamination: float = Field(
        default=0.01, gt=0, le=0.5, description="Share of the reference rows that counts as odd."
    )
    host: str = Field(default="0.0.0.0", description="Address to listen on.")  # noqa: S104  a pod's own network
    port: int = Field(default=3000, ge=1, le=65535, description="Port to listen on.")
    grpc_port: int = Field(
        default=3001, ge=0, le=65535, description="Port of the same protocol over gRPC; 0: it isn't served."
    )

    work_dir: Path | None = Field(
        default=None,
        description="Where fetched bundles are kept: what is whole there isn't fetched again; none: a temporary one.",
    )
    termination_log: Path = Field(
        default=Path("/dev/termination-log"), description="Where a failure is written."
    )
    store_secret_dir: Path | None = Field(
        default=None,
        description="Where the Secret of the bundle's store is mounted; none: the store is asked anonymously.",
    )
    bundle_attempts: int = Field(
        default=8, ge=1, le=100, description="Attempts in a row to fetch the bundle that may bring nothing."
    )
    bundle_timeout_s: float = Field(
        default=1800, gt=0, description="Time for fetching the bundle, all attempts together, in seconds."
    )
    bundle_stall_s: float = Field(
        default=30, gt=0, description="An attempt that brings nothing for so long is given up, in seconds."
    )
    bundle_max_bytes: int = Field(default=8 * GIB, gt=0, description="Largest bundle, in bytes.")
    load_timeout_s: float = Field(
        default=600, gt=0, description="Time for loading the fetched model and its rehearsal, in seconds."
    )
    max_body_bytes: int = Field(default=16 * MIB, gt=0, description="Largest request body, in bytes.")
    max_rows: int = Field(default=10_000, gt=0, description="Most rows in one request.")
    predict_threads: int = Field(
        default=2, ge=1, le=64, description="Calls of the model at once that are too long for the event loop."
    )
    inline_below_s: float = Field(
        default=0.002,
        ge=0,
        le=1,
        description="Calls of the model expected to be shorter run on the event loop, in seconds.",
    )
    max_batch_rows: int = Field(
        default=2048,
        ge=1,
        description="Most rows of several requests in one call of the model; 1: requests aren't joined.",
    )
    max_batch_s: float = Field(
        default=0.05,
        gt=0,
        description="Longest that one call of the model with several requests is expected to take, in seconds.",
    )
    max_in_flight: int = Field(
        default=2048, ge=1, description="Requests being answered or waiting; one more is refused with 429."
    )
    max_in_flight_bytes: int = Field(
        default=64 * MIB, gt=0, description="Bound of their bodies, in bytes; one more is refused with 429."
    )
    max_wait_s: float = Field(
        default=0.5,
        gt=0,
        description="Requests that would wait longer for the model are refused with 429, in seconds.",
    )
    max_refusals_per_s: float = Field(
        default=250,
        gt=0,
        description="Refused connections that are read again in a second; others wait for their turn.",
    )
    explain_max_rows: int = Field(
        default=64, ge=1, le=10_000, description="Most rows explained in one request."
    )
    explain_max_waiting: int = Field(
        default=2, ge=1, le=64, description="Explanations made or waiting; one more is refused with 429."
    )
    explain_timeout_s: float = Field(default=15, gt=0, description="Time for one explanation, in seconds.")
    log_queue_bytes: int = Field(default=16 * MIB, gt=0, description="Bound of the log's queue, in bytes.")
    log_batch_bytes: int = Field(
        default=MIB, gt=0, description="Size at which a log batch is sent, in bytes."
    )
    log_batch_entries: int = Field(
        default=1000, gt=0, le=10_000, description="Most requests in one log message."
    )
    log_interval_s: float = Field(
        default=1.0, gt=0, description="Longest wait before a log batch is sent, in seconds."
    )
    log_attempts: int = Field(
        default=8, ge=1, le=100, description="Times to send a log batch before it is dropped."
    )
    log_timeout_s: float = Field(
        default=10, gt=0, description="Time for one call to the observer, in seconds."
    )
    sink_queue_bytes: int = Field(
        default=16 * MIB, gt=0, description="Bound of the queue before the sink, in bytes."
    )
    sink_attempts: int = Field(
        default=4, ge=1, le=100, description="Times to send events to the sink before they are dropped."
    )
    sink_timeout_s: float = Field(default=10, gt=0, description="Time for one call to the sink, in seconds.")
    reference_attempts: int = Field(
        default=100, ge=1, le=1000, description="Times to send the reference sample."
    )
    backoff_base_s: float = Field(default=0.5, gt=0, description="First wait between attempts, in seconds.")
    backoff_cap_s: float = Field(default=30, gt=0, description="Longest wait between attempts, in seconds.")
    drain_delay_s: float = Field(
        default=3,
        ge=0,
        description="After SIGTERM: how long requests are still accepted while unready, in seconds.",
    )
    drain_timeout_s: float = Field(
        default=20, gt=0, description="After that: how long requests in flight may take, in seconds."
    )
    flush_timeout_s: float = Field(
        default=5, gt=0, description="Last of all: time to send what is logged, in seconds."
    )

    @field_validator("log_exclude", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return (
            [part for name in value.split(",") if (part := name.strip())] if isinstance(value, str) else value
        )

    @field_validator("adapter", mode="before")
    @classmethod
    def _read_adapter(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return orjson.loads(value) if value else None

    @field_validator("max_in_flight_bytes")
    @classmethod
    def _hold_one(cls, value: int, info: ValidationInfo) -> int:
        if value < (least := info.data.get("max_body_bytes", 0)):
            raise ValueError(
                f"is less than PERENNIAL_MAX_BODY_BYTES, {least}: a largest body would never fit"
            )
        return value

    @field_validator(
        "bundle_sha256",
        "observer_url",
        "outlier_detector",
        "sink_url",
        "token_file",
        "store_secret_dir",
        "work_dir",
        mode="before",
    )
    @classmethod
    def _empty_is_absent(cls, value: Any) -> Any:
        """Kubernetes can't unset a variable, only empty it."""
        return None if value == "" else value

    def read_token(self) -> SecretStr | None:
        """Read the token anew: the kubelet rotates it in place.

        Raises
        ------
        OSError
            The file can't be read.
        """
        if self.token_file is None:
            return None
        return SecretStr(self.token_file.read_text(encoding="utf-8").strip())
