import numpy as np
import pytest
from perennial_demo.auc import AucTrack
from sklearn.metrics import roc_auc_score

N = 4000


def track_with_answers():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, N)
    times = np.arange(N, dtype=np.float64)
    never = truth + rng.normal(0, 2, N)
    served = truth + rng.normal(0, 1, N)
    track = AucTrack(truth, times, never)
    track.record(0, N // 2, "first", served[: N // 2].tolist())
    track.record(N // 2, 3 * N // 4, "second", served[N // 2 : 3 * N // 4].tolist())
    return track, truth, never, served


def test_both_models_are_compared_on_the_same_answered_rows():
    track, truth, never, served = track_with_answers()
    got = track.between(0, N)
    answered = slice(0, 3 * N // 4)
    assert got.rows == 3 * N // 4
    assert got.served == pytest.approx(roc_auc_score(truth[answered], served[answered]))
    assert got.never_retrained == pytest.approx(roc_auc_score(truth[answered], never[answered]))
    assert got.gain > 0


def test_only_rows_of_the_asked_revisions_count():
    track, truth, _, served = track_with_answers()
    got = track.between(0, N, frozenset({"second"}))
    rows = slice(N // 2, 3 * N // 4)
    assert got.rows == N // 4
    assert got.served == pytest.approx(roc_auc_score(truth[rows], served[rows]))


def test_only_rows_of_the_window_count():
    track, _, _, _ = track_with_answers()
    assert track.between(1000, 2000).rows == 1000


def test_too_few_rows_have_no_auc():
    track, _, _, _ = track_with_answers()
    assert track.between(0, 100) is None


def test_rows_of_one_class_have_no_auc():
    track = AucTrack(np.zeros(N, dtype=np.int64), np.arange(N, dtype=np.float64), np.zeros(N))
    track.record(0, N, "first", [0.5] * N)
    assert track.between(0, N) is None
