"""References from a stretch of the log and from a file, on a real database."""

import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from perennial_api.modeldeployment.monitoring import LogReference, Outlier, Reference, UriReference
from perennial_observer.detectors.sidecar import Sidecar
from perennial_observer.monitors.looks.assessors import Assessors
from perennial_observer.monitors.references import sources as reference_sources
from perennial_observer.monitors.references.sources import MissingReference, Scope, find_reference
from perennial_observer.settings import Settings
from perennial_observer.store import reference_files
from perennial_observer.store.log import write_log
from perennial_observer.store.reference_files import FileUnusable, ReferenceFiles
from perennial_observer.store.reference_rows import read_stretch
from perennial_observer.store.references import write_reference
from perennial_observer.store.rows import DeploymentKey, PredictionRow
from perennial_observer.store.store import Store

KEY = DeploymentKey("uid-1", "shop", "wine")
NO_FILES = ReferenceFiles()
SENT = {
    "revision": "wine-1",
    "bundle_digest": "sha256:0",
    "task": "Regression",
    "schema": {
        "inputs": [
            {"name": "sugar", "datatype": "FP64"},
            {"name": "colour", "datatype": "BYTES"},
            {"name": "at", "datatype": "BYTES", "role": "EventTime"},
        ],
        "outputs": [{"name": "predict", "datatype": "FP64", "role": "Output"}],
    },
    "rows": {"sugar": [1.0, 2.0], "colour": ["red", "white"]},
    "outputs": {"predict": [0.0, 1.0]},
    "event_time": None,
}


@pytest.fixture
def store(tmp_path):
    opened = Store.open(Settings(data_dir=tmp_path))
    opened.writer.submit(lambda c: write_reference(c, KEY, "wine-1", orjson.dumps(SENT), now=0.0), 0).result(
        30
    )
    yield opened
    opened.close()


@pytest.fixture
def files(tmp_path):
    return ReferenceFiles((f"file://{tmp_path}",))


def log(store: Store, times, revision="wine-0") -> None:
    rows = [
        PredictionRow(
            f"{revision}-{at}", 0, revision, float(at), f'{{"sugar": {float(at)}}}', f'{{"predict": {at}}}'
        )
        for at in times
    ]
    store.writer.submit(lambda c: write_log(c, KEY, rows, [], now=1.0, max_rejected=10), 0).result(30)


def stretch(since: int, until: int) -> Scope:
    spec = LogReference(since=datetime.fromtimestamp(since, UTC), until=datetime.fromtimestamp(until, UTC))
    return Scope(KEY, "wine-1", reference=Reference(source="Log", log=spec))


def in_file(path: Path, *, sha256: str | None = None) -> Scope:
    digest = sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
    spec = UriReference(uri=f"file://{path}", sha256=digest)
    return Scope(KEY, "wine-1", reference=Reference(source="Uri", uri=spec))


def write_parquet(path: Path, **columns) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return path


def test_a_stretch_of_the_log_is_read_by_event_time_whatever_the_revision(store):
    log(store, [30, 10, 20, 50])
    log(store, [25], "wine-1")
    got = find_reference(store, stretch(10, 50), NO_FILES)
    assert got.columns == {"sugar": [10.0, 20.0, 25.0, 30.0]}
    assert got.outputs == {"predict": [10, 20, 25, 30]}
    assert got.event_time == [10.0, 20.0, 25.0, 30.0]
    assert got.schema.feature_names == ("sugar", "colour")


def test_of_a_long_stretch_rows_are_taken_evenly(store):
    log(store, range(100))
    with store.read() as connection:
        rows = read_stretch(connection, KEY.uid, since=0, until=100, most_rows=30)
    assert [row.event_time for row in rows] == [float(at) for at in range(3, 100, 4)]


def test_rows_of_the_stretch_that_come_later_do_not_change_the_reference(store):
    """A reference never slides along with a drift: it is read once while the revision is in force."""
    log(store, [10, 20, 60])
    assessors = Assessors(store, Sidecar(Path("/nonexistent.sock"), 1.0))
    before = assessors.prepare(stretch(0, 50)).reference
    log(store, [30])
    assert assessors.prepare(stretch(0, 50)).reference is before
    assessors.keep_only({(KEY.uid, "wine-2")})
    assert len(assessors.prepare(stretch(0, 50)).reference.columns["sugar"]) == 3


@pytest.mark.parametrize(("since", "until", "why"), [(0, 500, "waited for"), (60, 90, "nothing is logged")])
def test_a_stretch_that_is_not_there_is_unavailable(store, since, until, why):
    log(store, [10, 100])
    with pytest.raises(MissingReference, match=why) as caught:
        find_reference(store, stretch(since, until), NO_FILES)
    assert caught.value.reason == "ReferenceUnavailable"


def test_a_stretch_with_texts_for_numbers_is_unreadable_and_read_no_more_for_a_while(store, monkeypatch):
    log(store, [10, 100])
    row = PredictionRow("odd", 0, "wine-0", 20.0, '{"sugar": "sweet"}', '{"predict": 1}')
    store.writer.submit(lambda c: write_log(c, KEY, [row], [], now=1.0, max_rejected=10), 0).result(30)
    assessors = Assessors(store, Sidecar(Path("/nonexistent.sock"), 1.0), monotonic=lambda: 0.0)
    for _ in range(2):
        with pytest.raises(MissingReference, match=r"column 'sugar'.*choose another stretch") as caught:
            assessors.prepare(stretch(0, 50))
        assert caught.value.reason == "ReferenceUnreadable"
        monkeypatch.setattr(reference_sources, "read_stretch", None)


def test_a_file_is_read_in_order_of_its_event_times(store, tmp_path, files):
    path = write_parquet(
        tmp_path / "r.parquet",
        sugar=[3.0, None, 1.0, 2.0],
        colour=["red", None, "white", "red"],
        predict=[3.0, 4.0, 1.0, 2.0],
        at=[datetime(2026, 1, day, tzinfo=UTC) for day in (3, 4, 1, 2)],
        noise=[0, 0, 0, 0],
    )
    got = find_reference(store, in_file(path), files)
    assert got.columns["sugar"] == [1.0, 2.0, 3.0, None]
    assert got.columns["colour"] == ["white", "red", "red", None]
    assert got.outputs == {"predict": [1.0, 2.0, 3.0, 4.0]}
    assert got.event_time[0] == datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert "noise" not in got.columns


def test_a_file_of_another_digest_is_never_parsed(store, tmp_path, files):
    path = tmp_path / "r.parquet"
    path.write_bytes(b"no Parquet at all")
    with pytest.raises(MissingReference) as caught:
        find_reference(store, in_file(path, sha256="0" * 64), files)
    assert caught.value.reason == "ReferenceDigestMismatch"
    # What the file's digest is stays untold: whoever may write a spec may not read the volume.
    assert hashlib.sha256(path.read_bytes()).hexdigest() not in str(caught.value)


def test_what_is_no_parquet_or_has_no_column_of_the_model_is_unreadable(store, tmp_path, files):
    text = tmp_path / "r.parquet"
    text.write_bytes(b"no Parquet at all")
    other = write_parquet(tmp_path / "other.parquet", noise=[1.0])
    empty = write_parquet(tmp_path / "empty.parquet", sugar=pa.array([], pa.float64()))
    words = write_parquet(tmp_path / "words.parquet", sugar=["sweet", "dry"])
    lists = write_parquet(tmp_path / "lists.parquet", colour=[["red"], ["red"]])
    wide = write_parquet(tmp_path / "wide.parquet", colour=pa.array([b"red"], pa.binary(3)))
    repeated = tmp_path / "repeated.parquet"
    pq.write_table(
        pa.table({"colour": ["red"]}),
        repeated,
        use_dictionary=False,
        column_encoding={"colour": "DELTA_BYTE_ARRAY"},
    )
    cases = (
        (wide, "single values"),
        (repeated, "DELTA_BYTE_ARRAY"),
        (text, "Parquet"),
        (other, "none of"),
        (empty, "no row"),
        (words, "'sugar'"),
        (lists, "single values"),
    )
    for path, why in cases:
        with pytest.raises(MissingReference, match=why) as caught:
            find_reference(store, in_file(path), files)
        assert caught.value.reason == "ReferenceUnreadable"


def refuse(files: ReferenceFiles, uri: str) -> str:
    with pytest.raises(FileUnusable) as caught:
        files.read_rows(uri, "0" * 64, {"sugar"}, 10)
    return f"{caught.value.reason}: {caught.value.message}"


def test_a_file_that_is_too_slow_absent_or_a_device_is_unavailable(tmp_path, files):
    path = write_parquet(tmp_path / "r.parquet", sugar=[1.0])
    os.mkfifo(tmp_path / "pipe")
    assert "ReferenceUnavailable: " in (got := refuse(files, f"file://{tmp_path}/absent"))
    assert "can't be read" in got
    assert "no regular file" in refuse(files, f"file://{tmp_path}/pipe")
    assert "no regular file" in refuse(ReferenceFiles(("file:///dev",)), "file:///dev/zero")
    ticks = iter([0.0, 1_000.0])
    slow = replace(files, clock=lambda: next(ticks))
    assert "within 60 s" in refuse(slow, f"file://{path}")


def test_what_the_installation_does_not_allow_is_not_even_looked_for(store, tmp_path, files):
    secret = write_parquet(tmp_path.parent / f"{tmp_path.name}-secret.parquet", sugar=[1.0])
    (tmp_path / "link").symlink_to(secret)
    (tmp_path / "dangling").symlink_to(tmp_path.parent / "absent")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in (
        secret,
        tmp_path.parent / "absent",
        tmp_path / "link",
        tmp_path / "dangling",
        tmp_path / "loop",
        f"{tmp_path}/../{secret.name}",
        f"{tmp_path}/%2e%2e/{secret.name}",
    ):
        uri = f"file://{place}"
        message = f"the installation doesn't allow {uri}: have it added to observer.referenceUris"
        assert refuse(files, uri) == f"ReferenceNotAllowed: {message}"
    with pytest.raises(MissingReference) as caught:
        find_reference(store, in_file(secret), NO_FILES)
    assert caught.value.reason == "ReferenceNotAllowed"
    # A folder that is itself reached by a link stays allowed.
    (tmp_path.parent / f"{tmp_path.name}-way").symlink_to(tmp_path)
    path = write_parquet(tmp_path / "r.parquet", sugar=[1.0])
    by_link = ReferenceFiles((f"file://{tmp_path.parent}/{tmp_path.name}-way",))
    by_way = Path(f"{tmp_path.parent}/{tmp_path.name}-way/{path.name}")
    assert find_reference(store, in_file(by_way), by_link).columns == {"sugar": [1.0]}


def test_a_file_that_would_take_too_much_memory_is_too_large(tmp_path, files, monkeypatch):
    def read(path: Path) -> str:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with pytest.raises(FileUnusable) as caught:
            files.read_rows(f"file://{path}", digest, {"sugar", "colour"}, 5_000)
        return f"{caught.value.reason}: {caught.value.message}"

    # 2 KiB of file, 100 MB of text once its dictionary is undone.
    texts = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"colour": ["x" * 100_000] * 1_000}), texts)
    assert texts.stat().st_size < 1 << 20
    assert read(texts).startswith("ReferenceTooLarge: the reference unpacks to")
    kept = tmp_path / "kept.parquet"
    pq.write_table(pa.table({"colour": pa.array(["x" * 100_000] * 1_000).dictionary_encode()}), kept)
    assert read(kept).startswith("ReferenceTooLarge: the reference unpacks to")
    monkeypatch.setattr(reference_files, "MAX_GROUP_BYTES", 1_000)
    wide = tmp_path / "wide.parquet"
    pq.write_table(pa.table({"sugar": [float(i) for i in range(1_000)]}), wide)
    assert read(wide).startswith("ReferenceTooLarge: a row group")
    monkeypatch.setattr(reference_files, "MAX_FILE_BYTES", wide.stat().st_size - 1)
    assert read(wide).startswith("ReferenceTooLarge: the reference is over")


def test_only_some_rows_of_a_large_file_are_taken_and_nothing_is_left_behind(tmp_path):
    path = write_parquet(
        tmp_path / "r.parquet",
        sugar=[float(i) for i in range(10_000)],
        colour=[f"c{i % 3}" for i in range(10_000)],
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    folder = tmp_path / "data"
    folder.mkdir()
    files = ReferenceFiles((f"file://{tmp_path}",), folder)
    got = files.read_rows(f"file://{path}", digest, {"sugar", "colour"}, 4)
    assert got == {"sugar": [0.0, 3333.0, 6666.0, 9999.0], "colour": ["c0", "c0", "c0", "c0"]}
    assert list(folder.iterdir()) == []


def test_a_file_that_failed_is_asked_for_again_only_after_a_while(store, tmp_path, files):
    now = [0.0]
    assessors = Assessors(store, Sidecar(Path("/nonexistent.sock"), 1.0), lambda: now[0], files=files)
    path = tmp_path / "late.parquet"
    scope = in_file(path, sha256=hashlib.sha256(b"").hexdigest())
    with pytest.raises(MissingReference):
        assessors.prepare(scope)
    write_parquet(path, sugar=[1.0, 2.0])
    right = in_file(path)
    assert assessors.prepare(right).reference.columns["sugar"] == [1.0, 2.0]
    path.unlink()
    again = Assessors(store, Sidecar(Path("/nonexistent.sock"), 1.0), lambda: now[0], files=files)
    with pytest.raises(MissingReference, match="can't be read"):
        again.prepare(right)
    write_parquet(path, sugar=[1.0, 2.0])
    with pytest.raises(MissingReference, match="can't be read"):
        again.prepare(right)
    now[0] = 61.0
    assert again.prepare(right).reference.columns["sugar"] == [1.0, 2.0]


def test_single_odd_rows_are_judged_by_such_a_reference_too(store, tmp_path, files):
    path = write_parquet(tmp_path / "r.parquet", sugar=[float(i % 10) for i in range(200)])
    assessors = Assessors(store, Sidecar(Path("/nonexistent.sock"), 1.0), files=files)
    got = assessors.flag_outliers(in_file(path), Outlier(detector="KNN"), [{"sugar": 5.0}, {"sugar": 900.0}])
    assert got.tolist() == [False, True]
