import numpy as np
import pandas as pd
import pytest
from perennial_training.data import TrainingData
from perennial_training.errors import TrainerFailed
from perennial_training.fitting import refit, unset_random_states, weight_argument
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler


class Champion:
    def __init__(self, model):
        self.model = model


def training_data(model, weights=(1.0, 1.0, 1.0, 1.0), y=(0, 0, 1, 1)):
    x = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0]})
    return TrainingData(x, np.array(y), np.array(weights), np.arange(4.0), Champion(model), seed=7)


@pytest.mark.parametrize(
    ("model", "want"),
    [
        (LogisticRegression(), "sample_weight"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "logisticregression__sample_weight"),
        (
            Pipeline([("a", StandardScaler()), ("b", make_pipeline(StandardScaler(), LogisticRegression()))]),
            "b__logisticregression__sample_weight",
        ),
        (KNeighborsClassifier(), None),
        (make_pipeline(StandardScaler(), KNeighborsClassifier()), None),
    ],
)
def test_weights_go_to_the_final_estimator(model, want):
    assert weight_argument(model) == want


def test_weights_change_what_a_pipeline_learns():
    model = make_pipeline(StandardScaler(), LinearRegression())
    y = (0.0, 0.0, 1.0, 5.0)
    even = refit(training_data(model, y=y)).predict(pd.DataFrame({"a": [3.0]}))
    recent = refit(training_data(model, weights=(0.01, 0.01, 0.98, 3.0), y=y)).predict(
        pd.DataFrame({"a": [3.0]})
    )
    assert even[0] == pytest.approx(3.9)
    assert abs(recent[0] - 5) < abs(even[0] - 5)


def test_champion_itself_stays_as_it_was():
    champion = LogisticRegression(C=0.25).fit([[0.0], [1.0]], [1, 0])
    before = champion.coef_.copy()
    got = refit(training_data(champion))
    assert got is not champion
    assert got.get_params() == champion.get_params()
    np.testing.assert_array_equal(champion.coef_, before)


def test_estimator_without_weights_learns_from_rows_drawn_by_weight():
    got = refit(training_data(KNeighborsClassifier(n_neighbors=1), weights=(0.0, 2.0, 2.0, 0.0)))
    # Rows of weight zero are never drawn, so the outer points are answered by the inner ones.
    assert set(np.asarray(got._fit_X).ravel()) <= {1.0, 2.0}


def test_only_unset_random_states_are_ours_to_seed():
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier())
    assert unset_random_states(pipeline) == ["randomforestclassifier__random_state"]
    assert unset_random_states(RandomForestClassifier(random_state=3)) == []


def test_the_same_seed_gives_the_same_model():
    one, two = (refit(training_data(RandomForestClassifier(n_estimators=5))) for _ in range(2))
    x = pd.DataFrame({"a": np.linspace(0, 3, 50)})
    np.testing.assert_array_equal(one.predict_proba(x), two.predict_proba(x))
    assert one.random_state is None


def test_fit_that_raises_names_the_estimator():
    with pytest.raises(TrainerFailed, match="LogisticRegression"):
        refit(training_data(LogisticRegression(C=-1)))
