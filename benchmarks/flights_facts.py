"""What is known of the flights in a stretch of time without any monitor: whether an alarm in it was a true one. Pure.

Winter is January and February, all of its flights, of which the model and the reference were made. A week is compared with
winter's eight weeks and counts as another world where it is more than three of their standard deviations from their mean:
of as many normal weeks one in 40 is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from perennial_api.modeldeployment.monitoring import Monitor, MonitorType
from perennial_demo.flights import FEATURES, LABEL, WEATHER
from sklearn.metrics import roc_auc_score

__all__ = ["Facts", "Finding"]

Floats = npt.NDArray[np.float64]

WEEK_S, DAY_S = 7 * 86_400.0, 86_400.0
FAR = 3.0
WHOLE_WEEK = 5_000  # flights
NAMED = 3
RESAMPLES = 200


@dataclass(frozen=True)
class Finding:
    """Whether what a monitor said is so, and the figures that tell."""

    true: bool
    told: str


class Facts:
    """Answers by all flights of a stream, scored by the model that was watched.

    Parameters
    ----------
    winter, flights
        Frames of `load_flights` with ``probability``; `flights` is the stream, in time order.
    """

    def __init__(self, winter: pd.DataFrame, flights: pd.DataFrame) -> None:
        self._winter = winter
        self._flights = flights
        first = float(winter["time_s"].iloc[0])
        numbers = ((winter["time_s"] - first) // WEEK_S).astype(int)
        self._weeks = [week for _, week in winter.groupby(numbers) if len(week) >= WHOLE_WEEK]

    def judge(self, monitor: Monitor, features: Sequence[str], start_s: float, end_s: float) -> Finding:
        """Say what is known of the stretch that raised an alarm."""
        times = self._flights["time_s"]
        rows = self._flights[(times >= start_s) & (times <= end_s)]
        bound = monitor.performance or monitor.estimated_performance
        if bound is not None and bound.min is not None:
            return _below(rows, bound.min)
        if monitor.fairness is not None:
            return _unequal(rows, monitor.fairness.max_difference)
        answers: dict[MonitorType, Callable[[], Finding]] = {
            MonitorType.DRIFT: lambda: self._moved(rows, features[:NAMED]),
            MonitorType.PREDICTION_DRIFT: lambda: self._moved(rows, ["probability"]),
            MonitorType.OUTLIER: lambda: self._beyond_winter(rows),
            MonitorType.DATA_QUALITY: lambda: self._odd(rows),
            MonitorType.CONCEPT: lambda: self._more_errors(rows, start_s),
        }
        return answers[monitor.type]()

    def _moved(self, rows: pd.DataFrame, names: Sequence[str]) -> Finding:
        found = [self._distance(rows, name) for name in names]
        return Finding(any(far > FAR for far, _ in found), "; ".join(told for _, told in found))

    def _distance(self, rows: pd.DataFrame, name: str) -> tuple[float, str]:
        """How many of winter's weekly standard deviations a mean, or the share that moved most, is off."""
        if self._winter[name].dtype != object:
            return _off(name, float(rows[name].mean()), [float(week[name].mean()) for week in self._weeks])
        shares = rows[name].value_counts(normalize=True)
        winter = self._winter[name].value_counts(normalize=True)
        moved = shares.sub(winter, fill_value=0.0).abs().idxmax()
        weekly = [float((week[name] == moved).mean()) for week in self._weeks]
        return _off(f"share of {name} {moved}", float((rows[name] == moved).mean()), weekly)

    def _beyond_winter(self, rows: pd.DataFrame) -> Finding:
        low, high = self._winter[WEATHER].min(), self._winter[WEATHER].max()
        outside = ((rows[WEATHER] < low) | (rows[WEATHER] > high)).any(axis=1).mean()
        return Finding(outside > 0, f"{outside:.1%} of the flights have weather beyond all that winter had")

    def _odd(self, rows: pd.DataFrame) -> Finding:
        told, odd = [], False
        for name in FEATURES:
            before, now = self._winter[name], rows[name]
            missing = float(now.isna().mean() - before.isna().mean())
            if before.dtype == object:
                beyond = float((~now.isin(before.unique())).mean())
            else:
                beyond = float(((now < before.min()) | (now > before.max())).mean())
            if missing > 0.05 or beyond > 0.01:
                odd = True
                told.append(f"{name}: {beyond:.1%} beyond winter's, {missing:+.1%} missing")
        return Finding(odd, "; ".join(told[:NAMED]) or "nothing beyond winter's range or categories")

    def _more_errors(self, rows: pd.DataFrame, start_s: float) -> Finding:
        times = self._flights["time_s"]
        before = self._flights[(times >= start_s - 10 * WEEK_S) & (times < start_s)]
        was, is_now = (_errors_by_day(frame) for frame in (before, rows))
        error = np.hypot(was.std(ddof=1) / np.sqrt(len(was)), is_now.std(ddof=1) / np.sqrt(len(is_now)))
        rise = float(is_now.mean() - was.mean())
        return Finding(
            rise > 2 * error,
            f"{is_now.mean():.1%} of answers wrong, {was.mean():.1%} in the ten weeks before (± {error:.1%})",
        )


def _unequal(rows: pd.DataFrame, bound: float) -> Finding:
    """Whether the model is right at one airport more often than at another, by more than the bound."""
    right = {str(name): 1.0 - float(_errors_by_day(group).mean()) for name, group in rows.groupby("origin")}
    least, most = min(right, key=lambda name: right[name]), max(right, key=lambda name: right[name])
    told = f"right in {right[most]:.1%} at {most}, in {right[least]:.1%} at {least}"
    return Finding(right[most] - right[least] > bound, told)


def _off(name: str, now: float, weekly: Sequence[float]) -> tuple[float, str]:
    mean, deviation = float(np.mean(weekly)), float(np.std(weekly, ddof=1))
    far = abs(now - mean) / deviation if deviation else float("inf") if now != mean else 0.0
    return far, f"{name} {now:.3g} (winter's weeks {mean:.3g} ± {deviation:.2g}: {far:.1f} sd)"


def _below(rows: pd.DataFrame, bound: float) -> Finding:
    """Whether the AUC on all labels is below the bound, by days drawn with replacement."""
    days = [day for _, day in rows.groupby((rows["time_s"] // DAY_S).astype(int))]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        some = pd.concat([days[i] for i in rng.integers(len(days), size=len(days))])
        drawn.append(roc_auc_score(some[LABEL], some["probability"]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    auc = roc_auc_score(rows[LABEL], rows["probability"])
    return Finding(high < bound, f"AUC on all labels {auc:.3f} (95 % by days {low:.3f} to {high:.3f})")


def _errors_by_day(frame: pd.DataFrame) -> Floats:
    """Share of wrong answers of each day."""
    wrong = (frame["probability"] > 0.5) != (frame[LABEL] == 1)
    return wrong.groupby((frame["time_s"] // DAY_S).astype(int)).mean().to_numpy(dtype=np.float64)
