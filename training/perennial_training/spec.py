"""What the operator asks of a run: the JSON in ``PERENNIAL_RUN``."""

from pydantic import BaseModel, ConfigDict, Field

_Uri = r"^perennial://sha256:[0-9a-f]{64}$"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChampionSpec(_Frozen):
    """The model in service."""

    revision: str = Field(description="Name of its ModelRevision.")
    uri: str = Field(pattern=_Uri, description="Its bundle.")


class WeightSpec(_Frozen):
    """Inverse-age weights, in event time."""

    tau_s: float = Field(gt=0, description="Age at which a row counts half, seconds.")
    min_effective_samples: float = Field(ge=0, description="Floor of the effective sample size, rows.")


class DataSpec(_Frozen):
    """Which rows train and which test; durations in seconds of event time."""

    base_uri: str | None = Field(
        default=None, pattern=_Uri, description="A Parquet blob from before the log began."
    )
    window_s: float = Field(gt=0)
    gap_s: float = Field(ge=0)
    test_s: float = Field(gt=0)
    label_maturity_s: float = Field(ge=0)
    weights: WeightSpec


class RunSpec(_Frozen):
    """One retraining run."""

    run: str = Field(min_length=1, description="Name of the RetrainingRun and its Job; seeds all randomness.")
    namespace: str
    deployment: str
    champion: ChampionSpec
    data: DataSpec
    event_time: str | None = Field(
        default=None, description="Column that holds event time; null means arrival."
    )
    metric: str = Field(description="Name of the metric that the gate compares.")
