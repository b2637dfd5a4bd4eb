"""Everything that a batch job reads from its environment; the command line sets the same fields."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from perennial_server.settings import Settings

Format = Literal["Parquet", "Csv"]


class BatchSettings(Settings):
    """Settings of a batch job: those of a model server that concern the bundle and the log, and these."""

    namespace: str = Field(default="default", description="Namespace of the ModelDeployment.")
    deployment: str = Field(default="batch", description="Name of the ModelDeployment.")
    revision: str | None = Field(  # type: ignore[assignment]  # without a log nobody asks for it
        default=None, description="Name of the ModelRevision; needed where predictions are logged."
    )
    input_uri: str = Field(
        description="File, directory or glob: a path, or file://, s3://, gs://, az:// or https://."
    )
    output_uri: str = Field(description="Directory for the predictions; empty, or this job's own.")
    input_format: Format | None = Field(
        default=None, description="Format of the input; none: by the files' names."
    )
    output_format: Format = Field(default="Parquet", description="Format of predictions and rejects.")
    keep: Annotated[frozenset[str] | None, NoDecode] = Field(
        default=None, description="Input columns in the output, separated by commas; none: all."
    )
    csv_delimiter: str = Field(
        default=",", min_length=1, max_length=1, description="What separates CSV fields."
    )
    chunk_rows: int = Field(
        default=50_000, ge=1, le=10_000_000, description="Rows in a part: what is held in memory at once."
    )
    workers: int = Field(
        default=1, ge=1, le=256, description="Processes that score; more than one need Dask."
    )
    dask_scheduler: str | None = Field(
        default=None, description="Address of a Dask scheduler to use; none: a cluster of our own processes."
    )
    storage_options: SecretStr | None = Field(
        default=None, description="Options of the stores for fsspec, as JSON, such as an endpoint and keys."
    )
    storage_attempts: int = Field(
        default=5, ge=1, le=100, description="Times to try a call to a store before the job fails."
    )
    max_rejected_percent: float = Field(
        default=100, ge=0, le=100, description="More rejected rows than this, and the job fails at its end."
    )
    progress_interval_s: float = Field(
        default=10, gt=0, description="Time between progress lines, in seconds."
    )
    log_wait_s: float = Field(
        default=60, gt=0, description="Longest wait until the log of some rows is taken, in seconds."
    )

    @field_validator("keep", mode="before")
    @classmethod
    def _split_keep(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return [part for name in value.split(",") if (part := name.strip())]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.is_logged and self.revision is None:
            raise ValueError("revision: is needed to log predictions; set it, or PERENNIAL_LOG_MODE=None")
        return self

    @property
    def is_logged(self) -> bool:
        """Whether predictions go to the observer or a sink."""
        return self.log_mode != "None" and (self.observer_url is not None or self.sink_url is not None)
