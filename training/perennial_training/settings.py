"""Settings of the trainer process, from its environment."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from perennial_training.spec import RunSpec


class TrainerSettings(BaseSettings):
    """What a retraining Job is told."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_", frozen=True)

    run: RunSpec = Field(description="JSON: what to train and how to judge it.")
    observer_url: str = Field(
        description="Where the observer answers, such as http://perennial-observer.perennial-system."
    )
    token_file: Path = Field(
        default=Path("/var/run/secrets/perennial/token"), description="Projected token for the observer."
    )
    termination_log: Path = Field(
        default=Path("/dev/termination-log"), description="Where the verdict is written."
    )
    connect_timeout_s: float = Field(default=5.0, gt=0, description="Longest wait for a connection, seconds.")
    read_timeout_s: float = Field(default=60.0, gt=0, description="Longest silence while reading, seconds.")
    attempts: int = Field(
        default=6, ge=1, description="How often a call is tried in all, before the Job fails."
    )
    max_download_bytes: int = Field(
        default=2 * 1024**3,
        gt=0,
        description="Largest export, base dataset or bundle that is accepted, bytes.",
    )
