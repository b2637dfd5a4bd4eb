import json

from perennial_training.result import Failure, Result, isoformat, write_termination_log


def test_a_long_message_is_cut_so_that_the_kubelet_keeps_the_whole_json(tmp_path):
    path = tmp_path / "log"
    write_termination_log(path, Failure(reason="TrainerFailed", message='"ü' * 10_000))
    assert path.stat().st_size <= 4000
    got = json.loads(path.read_text())
    assert got["reason"] == "TrainerFailed"
    assert got["message"]


def test_figures_that_were_not_reached_are_null(tmp_path):
    path = tmp_path / "log"
    write_termination_log(
        path,
        Result(verdict="Refused", reason="TooFewLabels", message="too few", metric="roc_auc", train_rows=3),
    )
    got = json.loads(path.read_text())
    assert (got["train_rows"], got["champion_score"], got["candidate_uri"]) == (3, None, None)


def test_times_are_utc():
    assert isoformat(1_367_366_400.0) == "2013-05-01T00:00:00Z"
