import gc
import json
import tempfile

import numpy as np
import pandas as pd
import perennial_bundle
import pyarrow as pa
import pytest
from perennial_bundle import Flag, Rows, pack
from perennial_server.batch.csv_files import BadLine
from perennial_server.batch.errors import BatchError, CannotResume, StorageFailed, UnreadableInput
from perennial_server.batch.inputs import Block
from perennial_server.batch.job import check_columns, run
from perennial_server.batch.part_log import BATCH_ROWS, build_waves, cut_batches
from perennial_server.batch.places import Retry, open_place
from perennial_server.batch.plan import InputFile, Part, Plan
from perennial_server.batch.record import Record
from perennial_server.batch.scorer import open_scorer
from perennial_server.batch.scoring import name_outputs, render_flags, score_block
from perennial_server.batch.settings import BatchSettings
from perennial_server.batch.sifting import sift
from perennial_server.prediction_log.sizes import estimate_bytes
from sklearn.linear_model import LogisticRegression

FILE = InputFile("wine.csv", "Csv", 100, "mtime:1")
PLAN = Plan("sha256:aa", 10, "Parquet", ",", None, (FILE,), ())


def build_block(columns, bad=(), first_row=100):
    table = pa.table({name: pa.array(values, type=pa.string()) for name, values in columns.items()})
    rows = table.num_rows + len(bad)
    return Block(Part("part-00000-000000-0000", 0, rows), first_row, table, tuple(bad))


def build_batch_settings(bundle, tmp_path, **changes):
    values = {
        "bundle_uri": bundle.path.as_uri(),
        "input_uri": str(tmp_path / "in"),
        "output_uri": str(tmp_path / "out"),
        "chunk_rows": 10,
        "backoff_base_s": 0.001,
    }
    return BatchSettings(**(values | changes))


@pytest.fixture
def wine(tmp_path):
    """35 rows in one row group and 12 in another file."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"id": range(47), "alcohol": rng.normal(12, 1, 47), "acid": rng.normal(5, 1, 47)})
    (tmp_path / "in").mkdir()
    frame.iloc[:35].to_parquet(tmp_path / "in" / "a.parquet")
    frame.iloc[35:].to_csv(tmp_path / "in" / "b.csv", index=False)
    return frame


def read_output(tmp_path):
    return pd.concat(
        [
            pd.read_parquet(path).assign(file=path.name)
            for path in sorted((tmp_path / "out").glob("*.parquet"))
        ]
    )


def test_a_bundle_that_was_fetched_for_one_job_goes_away_with_it(bundle, tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    with (tmp_path / "b.tar").open("wb") as file:
        digest = pack(bundle.path, file)
    settings = build_batch_settings(
        bundle,
        tmp_path,
        bundle_uri=(tmp_path / "b.tar").as_uri(),
        bundle_sha256=digest.removeprefix("sha256:"),
    )
    scorer = open_scorer.__wrapped__(settings)
    assert (scorer.bundle.digest, len(list((tmp_path / "scratch").iterdir()))) == (digest, 1)
    del scorer
    gc.collect()
    assert not list((tmp_path / "scratch").iterdir())


def test_rows_that_do_not_fit_are_parted_from_those_that_do(bundle):
    rows = Rows(5, {"alcohol": [12.0, "strong", 13.0, 11.0, 12.0], "acid": [5.0, 5.0, 5.0, None, 4.0]})
    got = sift(bundle.schema, rows)
    assert got.fitting == (0, 2, 4)
    assert len(got.checked.frame) == got.rows.n == 3
    assert [(reject.row, reject.column, reject.reason) for reject in got.rejects] == [
        (1, "alcohol", "WrongType"),
        (3, "acid", "MissingValue"),
    ]
    assert not any("row" in reject.message.split() for reject in got.rejects)


def test_if_no_row_fits_all_are_rejected(bundle):
    got = sift(bundle.schema, Rows(2, {"alcohol": ["a", "b"], "acid": [1.0, 2.0]}))
    assert (got.fitting, got.checked, len(got.rejects)) == ((), None, 2)


def test_a_part_becomes_predictions_and_rejects_that_add_up(bundle):
    columns = {"id": ["1", "2", "3"], "alcohol": ["12", "x", "13"], "acid": ["5", "5", "5"]}
    block = build_block(columns, [BadLine(1, "9,9", "has 2 fields where the header has 3")])
    got = score_block(bundle, PLAN, FILE, block)
    assert got.table.column_names == [
        "id",
        "alcohol",
        "acid",
        "predict",
        "probability",
        "prediction_id",
        "flags",
    ]
    assert got.table["alcohol"].to_pylist() == [12.0, 13.0]
    want = bundle.predict(bundle.schema.check(Rows(2, {"alcohol": [12.0, 13.0], "acid": [5.0, 5.0]})).frame)
    np.testing.assert_allclose(got.table["probability"].to_numpy(), want["probability"])
    assert got.rejects["__row"].to_pylist() == [101, 102]
    assert got.rejects["__reason"].to_pylist() == ["BadLine", "WrongType"]
    assert got.rejects["id"].to_pylist() == [None, "2"]
    assert len(set(got.ids)) == 2


def test_prediction_ids_are_the_same_at_every_start_and_others_elsewhere(bundle):
    def ids(first_row):
        columns = {"alcohol": ["12", "13"], "acid": ["5", "5"]}
        return score_block(bundle, PLAN, FILE, build_block(columns, first_row=first_row)).ids

    assert ids(0) == ids(0)
    assert ids(0)[1] == ids(1)[0]
    assert not set(ids(0)) & set(ids(2))


def test_a_part_without_a_fitting_row_has_the_columns_of_the_others(bundle):
    good = score_block(bundle, PLAN, FILE, build_block({"alcohol": ["12"], "acid": ["5"]}))
    none = score_block(bundle, PLAN, FILE, build_block({"alcohol": ["x"], "acid": ["5"]}))
    assert none.table.num_rows == 0
    assert none.table.schema == good.table.schema


def test_each_class_has_a_column_of_its_own(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"alcohol": rng.normal(12, 1, 90), "acid": rng.normal(5, 1, 90)})
    labels = np.array(["dry", "medium", "sweet"] * 30)
    model = LogisticRegression().fit(frame, labels)
    bundle = perennial_bundle.save(model, frame, tmp_path / "three", y=labels)
    got = name_outputs(bundle, bundle.predict(frame))
    assert list(got) == ["predict", "probability_dry", "probability_medium", "probability_sweet"]


def test_flags_are_written_into_their_rows_cell():
    flags = (
        Flag(0, "a", "Missing", "Imputed"),
        Flag(2, "b", "OutOfRange", "Passed"),
        Flag(2, "c", "Missing", "Passed"),
    )
    assert render_flags(flags, 3) == ["a:Missing:Imputed", "", "b:OutOfRange:Passed;c:Missing:Passed"]


def test_a_model_that_raises_ends_the_job_and_says_where(bundle, monkeypatch):
    def fail(frame):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(bundle, "predict", fail)
    with pytest.raises(BatchError, match=r"wine\.csv from row 100 on: ZeroDivisionError"):
        score_block(bundle, PLAN, FILE, build_block({"alcohol": ["12"], "acid": ["5"]}))


@pytest.mark.parametrize(
    ("names", "keep", "want"),
    [
        (["alcohol"], None, "no column 'acid'"),
        (["alcohol", "acid"], ["id"], "no column 'id', which --keep"),
        (["alcohol", "acid", "predict"], None, "has a column 'predict'"),
        (["alcohol", "acid", "__row"], [], "__row"),
    ],
)
def test_a_file_that_cannot_be_scored_at_all_is_refused(bundle, names, keep, want):
    with pytest.raises(UnreadableInput, match=want):
        check_columns(bundle, "a.csv", names, keep, ["predict", "probability"])


def test_a_column_of_an_outputs_name_may_be_in_the_input_if_it_is_not_kept(bundle):
    check_columns(bundle, "a.csv", ["alcohol", "acid", "predict"], ["acid"], ["predict"])


def test_a_job_scores_each_row_of_each_file_once(bundle, tmp_path, wine):
    assert run(build_batch_settings(bundle, tmp_path), lambda: False)
    got = read_output(tmp_path)
    assert sorted(got.id.astype(int)) == list(wine.id)
    assert got.prediction_id.is_unique
    assert len(got.file.unique()) == 6
    summary = json.loads((tmp_path / "out" / "_perennial" / "summary.json").read_text())
    assert (summary["rows"], summary["scored"], summary["rejected"]) == (47, 47, 0)


def test_a_job_that_is_ended_goes_on_where_it_was(bundle, tmp_path, wine):
    settings = build_batch_settings(bundle, tmp_path)
    asked = iter([False, False, True])
    assert not run(settings, lambda: next(asked, True))
    first = read_output(tmp_path)
    assert 0 < len(first) < 47
    assert run(settings, lambda: False)
    got = read_output(tmp_path)
    assert sorted(got.id.astype(int)) == list(wine.id)
    assert set(first.prediction_id) < set(got.prediction_id)


def test_a_part_without_its_marker_is_done_again_and_the_same(bundle, tmp_path, wine):
    settings = build_batch_settings(bundle, tmp_path)
    run(settings, lambda: False)
    want = read_output(tmp_path)
    out = tmp_path / "out"
    marker = next((out / "_perennial" / "done").glob("part-00000-000000-0001.*"))
    marker.unlink()
    (out / "part-00000-000000-0001.parquet").write_bytes(b"half")
    (out / "part-00000-000000-0002.parquet.tmp-1").write_bytes(b"half")
    assert run(settings, lambda: False)
    pd.testing.assert_frame_equal(read_output(tmp_path), want)
    assert marker.exists()
    assert not list(out.rglob("*.tmp-*"))


def test_parts_that_are_done_are_not_written_again(bundle, tmp_path, wine):
    settings = build_batch_settings(bundle, tmp_path)
    run(settings, lambda: False)
    part = tmp_path / "out" / "part-00000-000000-0000.parquet"
    part.write_bytes(b"mine")
    assert run(settings, lambda: False)
    assert part.read_bytes() == b"mine"


def test_an_input_that_changed_is_not_gone_on_with(bundle, tmp_path, wine):
    settings = build_batch_settings(bundle, tmp_path)
    run(settings, lambda: False)
    wine.to_csv(tmp_path / "in" / "b.csv", index=False)
    with pytest.raises(CannotResume, match=r"b\.csv"):
        run(settings, lambda: False)


def test_another_bundle_does_not_go_on_with_an_output(bundle, tmp_path, wine):
    run(build_batch_settings(bundle, tmp_path), lambda: False)
    frame = wine[["alcohol", "acid"]]
    labels = (frame.acid > 5).astype(int)
    other = perennial_bundle.save(
        LogisticRegression().fit(frame, labels), frame, tmp_path / "other", y=labels
    )
    with pytest.raises(CannotResume, match="another bundle"):
        run(build_batch_settings(other, tmp_path), lambda: False)


def test_a_directory_with_files_of_others_is_not_written_to(bundle, tmp_path, wine):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(CannotResume, match=r"thesis\.txt"):
        run(build_batch_settings(bundle, tmp_path), lambda: False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("output", ["in", "in/scored"])
def test_an_output_within_the_input_is_refused(bundle, tmp_path, wine, output):
    with pytest.raises(BatchError, match="within --input"):
        run(build_batch_settings(bundle, tmp_path, output_uri=str(tmp_path / output)), lambda: False)


def test_a_job_that_is_done_leaves_its_summary_as_it_is(bundle, tmp_path, wine):
    settings = build_batch_settings(bundle, tmp_path)
    run(settings, lambda: False)
    summary = tmp_path / "out" / "_perennial" / "summary.json"
    summary.write_text("{}")
    assert run(settings, lambda: False)
    assert summary.read_text() == "{}"


def test_a_damaged_plan_is_named(tmp_path, bundle):
    record = Record(open_place(str(tmp_path), build_batch_settings(bundle, tmp_path)))
    record.begin(PLAN)
    (tmp_path / "_perennial" / "plan.json").write_text("{")
    with pytest.raises(CannotResume, match="plan"):
        record.find_plan()


def test_more_rejects_than_allowed_fail_the_job_at_its_end(bundle, tmp_path, wine):
    wine.assign(acid="sour").to_csv(tmp_path / "in" / "b.csv", index=False)
    with pytest.raises(BatchError, match=r"47 of 82 rows \(57\.3 %\)"):
        run(build_batch_settings(bundle, tmp_path, max_rejected_percent=5), lambda: False)
    assert len(read_output(tmp_path)) == 35
    rejects = pd.concat(pd.read_parquet(path) for path in (tmp_path / "out" / "_rejects").iterdir())
    assert sorted(rejects.id.astype(int)) == list(wine.id)


@pytest.mark.parametrize(
    ("name", "data", "want"),
    [
        (None, b"", "there is no file"),
        ("a.parquet", b"PAR1 and nothing more", "can't be read as Parquet"),
        ("a.csv", b"alcohol,acid\n\xff,1\n", "UTF-8"),
        ("a.csv", b"", "no header"),
        ("a.csv", b"alcohol,alcohol,acid\n1,2,3\n", "two columns of one name"),
        ("a.txt", b"alcohol,acid\n1,2\n", r"neither \.parquet nor \.csv"),
        ("a.csv", b'alcohol,acid\n"1,2\n', "quote isn't closed"),
    ],
)
def test_input_that_cannot_be_read_is_named(bundle, tmp_path, name, data, want):
    (tmp_path / "in").mkdir()
    if name is not None:
        (tmp_path / "in" / name).write_bytes(data)
    with pytest.raises(UnreadableInput, match=want) as caught:
        run(build_batch_settings(bundle, tmp_path), lambda: False)
    assert name is None or name in str(caught.value)


@pytest.mark.parametrize("input_uri", ["in/*.csv", "in/b.csv"])
def test_input_may_be_a_glob_or_a_file(bundle, tmp_path, wine, input_uri):
    run(build_batch_settings(bundle, tmp_path, input_uri=str(tmp_path / input_uri)), lambda: False)
    assert sorted(read_output(tmp_path).id.astype(int)) == list(range(35, 47))


def test_hidden_files_and_markers_are_no_input(bundle, tmp_path, wine):
    (tmp_path / "in" / "_SUCCESS").write_text("")
    (tmp_path / "in" / ".part.csv.crc").write_text("")
    assert run(build_batch_settings(bundle, tmp_path), lambda: False)


def test_only_columns_to_keep_are_in_the_output(bundle, tmp_path, wine):
    run(build_batch_settings(bundle, tmp_path, keep="id", output_format="Csv"), lambda: False)
    got = pd.read_csv(tmp_path / "out" / "part-00001-000000-0000.csv")
    assert list(got) == ["id", "predict", "probability", "prediction_id", "flags"]


def test_a_kind_of_store_that_is_not_known_is_refused(bundle, tmp_path):
    with pytest.raises(BatchError, match="ftp"):
        open_place("ftp://host/path", build_batch_settings(bundle, tmp_path))


def test_a_store_is_asked_again_until_the_limit():
    calls = []

    def fail():
        calls.append(1)
        raise ConnectionResetError("reset")

    with pytest.raises(StorageFailed, match="3 times"):
        Retry(3, 0.001, 0.001).call("read x", fail)
    assert len(calls) == 3


def test_a_store_that_says_no_is_asked_once():
    calls = []

    def refuse():
        calls.append(1)
        raise PermissionError("no")

    with pytest.raises(StorageFailed, match="PermissionError"):
        Retry(3, 0.001, 0.001).call("read x", refuse)
    assert len(calls) == 1


def test_logging_needs_to_know_whose_predictions_they_are():
    values = {
        "bundle_uri": "file:///b",
        "input_uri": "a",
        "output_uri": "b",
        "observer_url": "http://observer",
    }
    with pytest.raises(ValueError, match="revision"):
        BatchSettings(**values)
    assert BatchSettings(**values, revision="wine-1").is_logged
    assert not BatchSettings(**values, log_mode="None").is_logged


def test_a_part_is_logged_row_by_row_within_what_the_queue_holds(bundle):
    n = 2 * BATCH_ROWS + 5
    columns = {"alcohol": ["12"] * n, "acid": ["5"] * n}
    scored = score_block(bundle, PLAN, FILE, build_block(columns))
    batches = cut_batches(scored, 1.0)
    assert [batch.rows.n for batch in batches] == [BATCH_ROWS, BATCH_ROWS, 5]
    assert [origin.prediction_id for batch in batches for origin in batch.origins] == list(scored.ids)
    waves = list(build_waves(batches, estimate_bytes(batches[0]) + estimate_bytes(batches[2])))
    assert [len(wave) for wave in waves] == [1, 2]
