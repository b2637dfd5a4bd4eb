"""What can be changed about the demo, from the environment."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DemoSettings(BaseSettings):
    """Settings of ``make demo``; each is an environment variable ``PERENNIAL_DEMO_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="PERENNIAL_DEMO_", frozen=True)

    report_dir: Path = Field(default=Path("demo-report"), description="Where the report is written.")
    hours_per_s: float = Field(
        default=12.0, gt=0, le=100, description="Fastest replay, hours of event time in a second."
    )
    concurrency: int = Field(default=16, ge=1, le=48, description="Requests under way at a time.")
    request_timeout_s: float = Field(default=15.0, gt=0, description="Longest wait for one answer, seconds.")
    label_delay_h: float = Field(
        default=24.0, ge=0, description="Event time after which a flight's label is sent, hours."
    )
    poll_s: float = Field(default=1.5, gt=0, description="Pause between two looks at the cluster, seconds.")
    compare_days: float = Field(
        default=28.0,
        gt=0,
        description="Event time that the retrained model serves before the bad version comes, days.",
    )
    chapter_timeout_s: float = Field(
        default=600.0, gt=0, description="Longest wait for what a chapter should bring, seconds."
    )
    lead_days: float = Field(
        default=4.0,
        gt=1,
        description="How far the replay may run ahead of what the observer has reported, days of event time.",
    )
