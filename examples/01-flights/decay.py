"""Show the decay that the demo is about: AUC by month of a model never retrained and of one retrained each month.

    python examples/01-flights/decay.py

Both have the pipeline of `train.py`; the retrained one has, before each month, all earlier flights weighted by inverse
age with tau of 30 days.
"""

from perennial_demo.flights import FEATURES, LABEL, load_flights
from perennial_training import inverse_age_weights
from sklearn.metrics import roc_auc_score
from train import WINTER, build_pipeline

TAU_S = 30 * 86_400.0
MIN_EFFECTIVE_SAMPLES = 5000


def main() -> None:
    """Print the table."""
    flights = load_flights()
    winter = flights[flights["month"].isin(WINTER)]
    champion = build_pipeline().fit(winter[FEATURES], winter[LABEL])
    print(f"{'month':>5} {'flights':>8} {'late':>6} {'never retrained':>16} {'retrained monthly':>18}")
    for month in range(max(WINTER) + 1, 13):
        now = flights[flights["month"] == month]
        past = flights[flights["month"] < month]
        weighted = inverse_age_weights(
            past["time_s"].to_numpy(),
            now_s=float(past["time_s"].max()),
            tau_s=TAU_S,
            min_effective_samples=MIN_EFFECTIVE_SAMPLES,
        )
        assert weighted is not None
        retrained = build_pipeline().fit(
            past[FEATURES], past[LABEL], classifier__sample_weight=weighted.weights
        )
        old, new = (
            roc_auc_score(now[LABEL], model.predict_proba(now[FEATURES])[:, 1])
            for model in (champion, retrained)
        )
        print(f"{month:>5} {len(now):>8,} {now[LABEL].mean():>6.1%} {old:>16.3f} {new:>18.3f}")


if __name__ == "__main__":
    main()
