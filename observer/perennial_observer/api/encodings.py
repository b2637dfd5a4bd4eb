"""Content encodings of request bodies. Pure; no input makes one of these use more memory than its bound."""

import zlib
from collections.abc import Callable, Mapping

import zstandard

from perennial_observer.errors import InvalidRequest, TooLarge

__all__ = ["UNFOLD", "too_large"]


def too_large(max_bytes: int) -> TooLarge:
    """Say that a body is larger than allowed."""
    return TooLarge(f"the body is over {max_bytes} bytes: send less at once")


def unfold_gzip(body: bytes, max_bytes: int) -> bytes:
    """Decompress gzip, at most one byte more than `max_bytes`.

    Raises
    ------
    InvalidRequest
        It isn't gzip or ends early.
    """
    unfolder = zlib.decompressobj(wbits=31)
    try:
        plain = unfolder.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InvalidRequest(f"the body is not gzip: {error}", "InvalidEncoding") from error
    if len(plain) <= max_bytes and not unfolder.eof:
        raise InvalidRequest("the gzip body ends early", "InvalidEncoding")
    return plain


def unfold_zstd(body: bytes, max_bytes: int) -> bytes:
    """Decompress one zstd frame that says its size, so that its size is known before memory is taken for it.

    Raises
    ------
    InvalidRequest
        It isn't one whole frame, or doesn't say its size.
    TooLarge
        It says that it is over `max_bytes`.
    """
    try:
        size = zstandard.frame_content_size(body)
        if size < 0:
            raise InvalidRequest(
                "the zstd body doesn't say its size: compress it as a whole, not as a stream",
                "InvalidEncoding",
            )
        if size > max_bytes:
            raise too_large(max_bytes)
        return zstandard.ZstdDecompressor().decompress(body, read_across_frames=False, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise InvalidRequest(f"the body is not zstd: {error}", "InvalidEncoding") from error


def _keep(body: bytes, _: int) -> bytes:
    return body


# In the order in which a caller that has the choice should take them.
UNFOLD: Mapping[str, Callable[[bytes, int], bytes]] = {
    "zstd": unfold_zstd,
    "gzip": unfold_gzip,
    "identity": _keep,
}
