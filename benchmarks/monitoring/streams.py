"""Seeded streams: a reference and the windows after it, with or without a change that begins at a known window."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

Floats = npt.NDArray[np.float64]

FEATURES = 20
MOVED = 3  # features that a change moves
WINDOW = 1000
REFERENCE_WINDOWS = 20
WINDOWS = 12
BEGIN = 4  # windows before the change
SEASON = 4 * WINDOW  # rows of a season: a window is a quarter of it
RECUR = 3  # windows for which a recurring change stays, and goes


class Stream(NamedTuple):
    """What a monitor sees: reference (m, FEATURES), windows (WINDOWS, WINDOW, FEATURES); `changed` says where it should alarm."""

    reference: Floats
    windows: Floats
    changed: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Noise:
    """How rows follow each other: first-order autoregression with `phi`, unit variance, and a season's amplitude."""

    phi: float = 0.0
    season: float = 0.0

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """Draw rows, float64 (n, FEATURES)."""
        steps = rng.normal(size=(n, FEATURES)) * np.sqrt(1 - self.phi**2)
        steps[0] /= np.sqrt(1 - self.phi**2)  # starts where it has always been
        rows: Floats = lfilter([1.0], [1.0, -self.phi], steps, axis=0)
        if self.season:
            phase = 2 * np.pi * np.arange(n)[:, None] / SEASON
            rows = rows + self.season * np.sin(phase + np.arange(FEATURES))
        return rows


Change = Callable[[Floats, Floats, np.random.Generator], Floats]


def move_mean(rows: Floats, strength: Floats, rng: np.random.Generator) -> Floats:  # noqa: ARG001
    """Add up to 0.2 standard deviations to some features."""
    moved = rows.copy()
    moved[:, :MOVED] += 0.2 * strength[:, None]
    return moved


def move_mean_far(rows: Floats, strength: Floats, rng: np.random.Generator) -> Floats:  # noqa: ARG001
    """Add up to 0.5 standard deviations to some features."""
    moved = rows.copy()
    moved[:, :MOVED] += 0.5 * strength[:, None]
    return moved


def move_scale(rows: Floats, strength: Floats, rng: np.random.Generator) -> Floats:  # noqa: ARG001
    """Spread some features by up to 1.3."""
    moved = rows.copy()
    moved[:, :MOVED] *= 1 + 0.3 * strength[:, None]
    return moved


def correlate(rows: Floats, strength: Floats, rng: np.random.Generator) -> Floats:  # noqa: ARG001
    """Let a feature follow another, up to a correlation of 0.6; each of them alone stays as it was."""
    moved = rows.copy()
    rho = 0.6 * strength
    moved[:, 1] = rho * rows[:, 0] + np.sqrt(1 - rho**2) * rows[:, 1]
    return moved


def move_prior(rows: Floats, strength: Floats, rng: np.random.Generator) -> Floats:
    """Draw up to 15 % of the rows from a class that is 1 higher in some features."""
    moved = rows.copy()
    other = rng.random(len(rows)) < 0.15 * strength
    moved[other, :MOVED] += 1.0
    return moved


def abrupt() -> Floats:
    """Full strength from one row to the next, float64 (rows,)."""
    strength = np.zeros(WINDOWS * WINDOW)
    strength[BEGIN * WINDOW :] = 1.0
    return strength


def gradual() -> Floats:
    """Full strength after five windows."""
    rows = np.arange(WINDOWS * WINDOW) - BEGIN * WINDOW
    return np.clip(rows / (5 * WINDOW), 0.0, 1.0)


def recurring() -> Floats:
    """Full strength, and none, in turn."""
    window = np.arange(WINDOWS * WINDOW) // WINDOW - BEGIN
    return ((window >= 0) & (window // RECUR % 2 == 0)).astype(np.float64)


@dataclass(frozen=True)
class Scenario:
    """One kind of stream."""

    title: str
    noise: Noise
    change: Change | None = None
    course: Callable[[], Floats] = abrupt

    def draw(self, seed: int) -> Stream:
        """Draw the stream of a seed."""
        rng = np.random.default_rng(seed)
        n_reference = REFERENCE_WINDOWS * WINDOW
        rows = self.noise.draw(rng, n_reference + WINDOWS * WINDOW)
        reference, live = rows[:n_reference], rows[n_reference:]
        changed = np.zeros(WINDOWS, dtype=np.bool_)
        if self.change is not None:
            strength = self.course()
            live = self.change(live, strength, rng)
            changed = strength.reshape(WINDOWS, WINDOW).mean(axis=1) > 0
        return Stream(reference, live.reshape(WINDOWS, WINDOW, FEATURES), changed)


IID, MILD, STRONG = Noise(), Noise(phi=0.5), Noise(phi=0.9)
SEASONAL = Noise(phi=0.5, season=0.5)

SCENARIOS: Mapping[str, Scenario] = {
    "iid": Scenario("nothing changes, independent rows", IID),
    "ar5": Scenario("nothing changes, AR(1) 0.5", MILD),
    "ar9": Scenario("nothing changes, AR(1) 0.9", STRONG),
    "seasonal": Scenario("nothing changes, a season of four windows", SEASONAL),
    "mean": Scenario("mean +0.2 sd in 3 of 20", IID, move_mean),
    "mean-ar5": Scenario("the same, AR(1) 0.5", MILD, move_mean),
    "mean-ar9": Scenario("mean +0.5 sd in 3 of 20, AR(1) 0.9", STRONG, move_mean_far),
    "mean-seasonal": Scenario("mean +0.5 sd in 3 of 20, seasonal", SEASONAL, move_mean_far),
    "gradual": Scenario("mean +0.2 sd in 3 of 20 over five windows", IID, move_mean, gradual),
    "recurring": Scenario("mean +0.2 sd in 3 of 20, three windows on, three off", IID, move_mean, recurring),
    "scale": Scenario("spread x 1.3 in 3 of 20", IID, move_scale),
    "correlation": Scenario("correlation 0.6 of two features", IID, correlate),
    "prior": Scenario("15 % of another class", IID, move_prior),
}
# Under which unchanged stream a scenario's false alarms are counted.
NULLS: Mapping[str, str] = {
    name: next(null for null in ("iid", "ar5", "ar9", "seasonal") if SCENARIOS[null].noise == scenario.noise)
    for name, scenario in SCENARIOS.items()
}
