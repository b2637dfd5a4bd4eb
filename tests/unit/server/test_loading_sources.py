import hashlib
import random
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from perennial_bundle import BundleNotFound
from perennial_server.attempts import Again
from perennial_server.loading.errors import StoreUnavailable, TooLarge
from perennial_server.loading.progress import Progress
from perennial_server.loading.sources import Downloader, Patience, Reading

DATA = bytes(range(256)) * 40
PATIENCE = Patience(attempts=3, stall_s=5, base_s=0.001, cap_s=0.002)


class Store:
    """Plays one part of a script for each attempt: how many bytes come before what happens."""

    def __init__(self, script, data=DATA, total=True, resumes=True):
        self._script = list(script)
        self._data = data
        self._total = total
        self._resumes = resumes
        self.asked = []

    @asynccontextmanager
    async def open(self, name, start):
        self.asked.append(start)
        begin = start if self._resumes else 0
        n_bytes, end = self._script.pop(0) if self._script else (len(self._data), None)

        async def pieces():
            for at in range(begin, min(begin + n_bytes, len(self._data)), 1000):
                yield self._data[at : min(at + 1000, begin + n_bytes)]
            if end is not None:
                raise end

        if n_bytes == 0 and end is not None:
            raise end
        yield Reading(begin, len(self._data) if self._total else None, pieces())

    async def close(self):
        pass


class FullDisk:
    """A path whose file takes nothing."""

    def open(self, mode):
        assert mode == "xb"
        return Path("/dev/full").open("wb", buffering=0)


def build(store, max_bytes=1_000_000, patience=PATIENCE):
    progress = Progress()
    return Downloader(store, patience, progress, random.Random(0), max_bytes=max_bytes), progress


async def test_a_file_comes_whole_with_its_hash(tmp_path):
    downloader, progress = build(Store([]))
    got = await downloader.fetch("", tmp_path / "file")
    assert got == hashlib.sha256(DATA).hexdigest()
    assert (tmp_path / "file").read_bytes() == DATA
    assert (progress.done_bytes, progress.total_bytes) == (len(DATA), len(DATA))


async def test_a_broken_connection_is_resumed_where_it_broke(tmp_path):
    store = Store([(3000, ConnectionResetError()), (4000, Again("status 503"))])
    downloader, progress = build(store)
    got = await downloader.fetch("", tmp_path / "file")
    assert got == hashlib.sha256(DATA).hexdigest()
    assert store.asked == [0, 3000, 7000]
    assert progress.done_bytes == len(DATA)


async def test_a_store_that_begins_again_is_followed_to_its_start(tmp_path):
    downloader, progress = build(Store([(3000, ConnectionResetError())], resumes=False))
    got = await downloader.fetch("", tmp_path / "file")
    assert got == hashlib.sha256(DATA).hexdigest()
    assert (tmp_path / "file").read_bytes() == DATA
    assert progress.done_bytes == len(DATA)


async def test_attempts_that_get_further_are_not_counted(tmp_path):
    store = Store([(1000, ConnectionResetError())] * 8)
    downloader, _ = build(store)
    assert await downloader.fetch("", tmp_path / "file") == hashlib.sha256(DATA).hexdigest()


async def test_attempts_that_bring_nothing_end(tmp_path):
    store = Store([(2000, ConnectionResetError())] + [(0, Again("status 503"))] * 9)
    downloader, _ = build(store)
    with pytest.raises(StoreUnavailable, match="3 attempts in a row brought nothing, the last: status 503"):
        await downloader.fetch("", tmp_path / "file")
    assert len(store.asked) == 4


async def test_a_store_that_begins_again_forever_ends_too(tmp_path):
    downloader, _ = build(Store([(2000, ConnectionResetError())] * 99, resumes=False))
    with pytest.raises(StoreUnavailable, match="ConnectionResetError"):
        await downloader.fetch("", tmp_path / "file")


async def test_an_end_before_the_last_byte_is_no_end(tmp_path):
    downloader, _ = build(Store([(5000, None)]))
    assert await downloader.fetch("", tmp_path / "file") == hashlib.sha256(DATA).hexdigest()


async def test_nothing_is_tried_again_where_there_is_nothing(tmp_path):
    store = Store([(0, BundleNotFound("no"))])
    downloader, _ = build(store)
    with pytest.raises(BundleNotFound):
        await downloader.fetch("", tmp_path / "file")
    assert store.asked == [0]


@pytest.mark.parametrize("total", [True, False], ids=["as announced", "as it comes"])
async def test_a_file_larger_than_the_limit_is_refused(tmp_path, total):
    downloader, progress = build(Store([], total=total), max_bytes=5000)
    with pytest.raises(TooLarge, match="larger than the 5000 bytes"):
        await downloader.fetch("", tmp_path / "file")
    assert (tmp_path / "file").stat().st_size <= 5000
    assert progress.done_bytes <= 5000


async def test_a_full_disk_is_told_at_once():
    store = Store([])
    downloader, _ = build(store)
    with pytest.raises(TooLarge, match="the bundle doesn't fit here: No space left on device"):
        await downloader.fetch("", FullDisk())
    assert store.asked == [0]


async def test_the_limit_is_for_all_files_together(tmp_path):
    downloader, _ = build(Store([]), max_bytes=len(DATA) + 5)
    await downloader.fetch("a", tmp_path / "a")
    with pytest.raises(TooLarge, match="b is larger than the 5 bytes"):
        await downloader.fetch("b", tmp_path / "b")
