import gzip

import pytest
import zstandard
from perennial_observer.api.encodings import UNFOLD
from perennial_observer.errors import ObserverError

TEXT = b'{"revision": "wine-1"}' * 50


def pack_zstd(body, **options):
    return zstandard.ZstdCompressor(level=1, **options).compress(body)


@pytest.mark.parametrize(
    ("encoding", "packed"), [("zstd", pack_zstd(TEXT)), ("gzip", gzip.compress(TEXT)), ("identity", TEXT)]
)
def test_what_was_packed_comes_out(encoding, packed):
    assert UNFOLD[encoding](packed, len(TEXT)) == TEXT


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("zstd", b"{}"),
        ("zstd", pack_zstd(TEXT)[:-5]),
        ("zstd", pack_zstd(TEXT) + pack_zstd(TEXT)),
        ("zstd", pack_zstd(TEXT, write_content_size=False)),
        ("gzip", b"{}"),
        ("gzip", gzip.compress(TEXT)[:-9]),
    ],
)
def test_what_is_no_whole_body_is_refused(encoding, packed):
    with pytest.raises(ObserverError) as refused:
        UNFOLD[encoding](packed, 1_000_000)
    assert (refused.value.status, refused.value.reason) == (400, "InvalidEncoding")


def test_a_zstd_bomb_is_refused_before_it_is_unfolded():
    with pytest.raises(ObserverError) as refused:
        UNFOLD["zstd"](pack_zstd(bytes(50_000_000)), 1_000)
    assert refused.value.status == 413


def test_a_gzip_bomb_is_unfolded_to_a_byte_over_the_bound():
    assert len(UNFOLD["gzip"](gzip.compress(bytes(50_000_000)), 1_000)) == 1_001


def test_a_frame_that_holds_more_than_it_says_is_refused():
    honest = pack_zstd(TEXT)
    # A size of two bytes is written less 256 (RFC 8878, section 3.1.1.1.4).
    place = honest.index((len(TEXT) - 256).to_bytes(2, "little"))
    lying = honest[:place] + b"\x00\x00" + honest[place + 2 :]
    assert zstandard.frame_content_size(lying) == 256
    with pytest.raises(ObserverError):
        UNFOLD["zstd"](lying, 1_000_000)
