"""The score in an answer's header is the score that the Outlier monitor writes to the log."""

import numpy as np
import pandas as pd
import perennial_bundle
import pytest
from perennial_api.modeldeployment.monitoring import Outlier
from perennial_bundle import InvalidBundle, Rows, Schema
from perennial_bundle.encoding import Encoder, build_encoder
from perennial_bundle.oddness import MOST_COLUMNS, Cut, Mahalanobis, learn_rows
from perennial_observer.monitors.outlier import OutlierMonitor, make_detector
from perennial_server.outliers import learn_outliers
from perennial_server.settings import Settings
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

ODD = {"wind": [10.0, 80.0, None, 4], "carrier": ["AA", "DL", "UA", "ZZ"], "tail": ["N1"] * 4}
DETECTORS = ("Mahalanobis", "KNN")


class Learning:
    """A cut that only remembers what it was to learn."""

    def fit(self, reference):
        self.shape = reference.shape


def save(path, n=500):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "wind": random.normal(10, 3, n),
            "carrier": random.choice(["AA", "DL", "UA"], n),
            "tail": random.integers(100, 999, n).astype(str),
        }
    )
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["carrier"]), remainder="passthrough"
    )
    labels = (frame.wind > 11).astype(int)
    model = make_pipeline(encode, LogisticRegression()).fit(frame[["wind", "carrier"]], labels)
    return perennial_bundle.save(model, frame, path, y=labels, passthrough=["tail"])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return save(tmp_path_factory.mktemp("bundles") / "flights")


def ask(**changes):
    values = {
        "namespace": "shop",
        "deployment": "flights",
        "revision": "flights-1",
        "bundle_uri": "file:///x",
    }
    return Settings(**values | changes)


def rate_as_the_monitor(bundle, exclude=(), **outlier):
    reference = bundle.reference().sent
    monitor = OutlierMonitor(
        encoder=build_encoder(bundle.schema, reference, exclude),
        reference=reference,
        n_rows=len(reference["wind"]),
        detector=make_detector(Outlier.model_validate(outlier), sidecar=None),
    )
    rows = [dict(zip(ODD, values, strict=True)) for values in zip(*ODD.values(), strict=True)]
    return monitor.rate([{k: v for k, v in row.items() if k not in exclude} for row in rows])


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("exclude", [(), ("carrier",)])
@pytest.mark.parametrize("contamination", [0.01, 0.1])
def test_header_and_log_tell_the_same_score(bundle, detector, exclude, contamination):
    settings = ask(
        outlier_detector=detector, outlier_contamination=contamination, log_exclude=frozenset(exclude)
    )
    got = learn_outliers(bundle, settings)(Rows(4, ODD))
    want = rate_as_the_monitor(bundle, exclude, detector=detector, contamination=contamination, maxRate=0.5)
    np.testing.assert_allclose(got, want, rtol=1e-9)
    assert (got > 0).tolist()[:2] == [False, True]


@pytest.mark.parametrize("detector", DETECTORS)
def test_rows_rate_the_same_in_lists_and_in_arrays(bundle, detector):
    rate = learn_outliers(bundle, ask(outlier_detector=detector))
    arrays = {"wind": np.array([10.0, 80.0, np.nan, 4]), "carrier": np.array(ODD["carrier"], dtype=object)}
    np.testing.assert_array_equal(rate(Rows(4, arrays)), rate(Rows(4, ODD)))
    without = rate(Rows(4, {"wind": ODD["wind"]}))
    np.testing.assert_array_equal(without, rate(Rows(4, {**ODD, "carrier": [None] * 4})))


def test_rows_in_a_matrix_rate_as_those_in_columns(tmp_path):
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(size=(200, 3)), columns=["c", "a", "b"])
    saved = perennial_bundle.save(
        LogisticRegression().fit(frame, frame.a > 0), frame, tmp_path / "m", y=frame.a > 0
    )
    rate = learn_outliers(saved, ask(outlier_detector="Mahalanobis"))
    values = random.normal(size=(5, 3)).astype(np.float32)
    columns = {name: values[:, i].tolist() for i, name in enumerate(saved.schema.feature_names)}
    np.testing.assert_allclose(rate(Rows(5, {}, values)), rate(Rows(5, columns)))


def learn_numbers():
    """A schema of four numbers, and a rater that doesn't look at one of them."""
    random = np.random.default_rng(2)
    reference = {name: random.normal(size=200).tolist() for name in ("d", "a", "c", "b")}
    schema = Schema.model_validate(
        {
            "inputs": [{"name": name, "datatype": "FP64"} for name in reference],
            "outputs": [{"name": "predict", "datatype": "INT64"}],
        }
    )
    return schema, learn_rows(schema, reference, Cut(Mahalanobis, 0.01), exclude=("a",))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_a_matrix_rates_exactly_as_its_columns_and_without_a_step_for_each(dtype, monkeypatch):
    schema, rate = learn_numbers()
    matrix = np.array(
        [[1, 9, 0, 2], [np.nan, 0, 1, 1], [np.inf, 1, -np.inf, 0], [1e308, 0, -1e308, 3]]
    ).astype(dtype)
    want = rate(Rows(4, {name: matrix[:, i] for i, name in enumerate(schema.feature_names)}))
    monkeypatch.delattr(Encoder, "encode")
    np.testing.assert_array_equal(rate(Rows(4, {}, matrix)), want)
    assert np.isfinite(want).all()


@pytest.mark.parametrize(("width", "is_refused"), [(MOST_COLUMNS // 2, False), (MOST_COLUMNS // 2 + 1, True)])
def test_more_columns_than_can_be_learnt_in_time_are_refused(width, is_refused):
    names = [f"f{i}" for i in range(width)]
    schema = Schema.model_validate(
        {
            "inputs": [{"name": name, "datatype": "FP64"} for name in names],
            "outputs": [{"name": "predict", "datatype": "INT64"}],
        }
    )
    cut = Learning()
    reference = {name: [0.0, 1.0] * 25 for name in names}
    if is_refused:
        with pytest.raises(
            InvalidBundle, match=r"1002 columns.*remove server\.outlierScores.*logger\.exclude"
        ):
            learn_rows(schema, reference, cut)
        learn_rows(schema, reference, cut, exclude=names[:1])
    else:
        learn_rows(schema, reference, cut)
    assert cut.shape == (50, MOST_COLUMNS)


def test_nothing_is_learnt_where_nobody_asks(bundle):
    assert learn_outliers(bundle, ask()) is None
    assert learn_outliers(None, ask()) is None


@pytest.mark.parametrize(
    ("n", "exclude", "says"),
    [(49, (), "49 rows, 50 are needed"), (500, ("wind", "carrier"), "no feature")],
)
def test_what_can_not_be_learnt_ends_the_start_with_what_to_change(tmp_path, n, exclude, says):
    settings = ask(outlier_detector="KNN", log_exclude=frozenset(exclude))
    with pytest.raises(InvalidBundle, match=says):
        learn_outliers(save(tmp_path / "few", n), settings)


def test_a_model_in_an_image_of_its_own_has_nothing_to_learn():
    with pytest.raises(InvalidBundle, match=r"remove server\.outlierScores"):
        learn_outliers(None, ask(outlier_detector="KNN"))
