"""NannyML's univariate drift as it comes: an alert where any column's Jensen-Shannon distance leaves its three sigmas."""

from importlib.metadata import version

import numpy as np
import pandas as pd
from nannyml import UnivariateDriftCalculator

from benchmarks.monitoring.contest import Judge, contest
from benchmarks.monitoring.streams import FEATURES, WINDOW, Floats

COLUMNS = [f"x{i}" for i in range(FEATURES)]


def make(reference: Floats) -> Judge:
    """Fit."""
    calculator = UnivariateDriftCalculator(column_names=COLUMNS, chunk_size=WINDOW)
    calculator.fit(pd.DataFrame(reference, columns=COLUMNS))

    def judge(window: Floats) -> tuple[float, bool]:
        frame = calculator.calculate(pd.DataFrame(window, columns=COLUMNS)).filter(period="analysis").to_df()
        (method,) = {column[1] for column in frame.columns if column[0] == COLUMNS[0]}
        last = frame.iloc[-1]
        values = np.array([last[(c, method, "value")] for c in COLUMNS], dtype=float)
        upper = np.array([last[(c, method, "upper_threshold")] for c in COLUMNS], dtype=float)
        return float(np.max(values - upper)), any(bool(last[(c, method, "alert")]) for c in COLUMNS)

    return judge


if __name__ == "__main__":
    contest(make, name="NannyML univariate", version=version("nannyml"))
