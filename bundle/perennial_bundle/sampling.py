"""Which predictions are logged where only a share of them is."""

from hashlib import blake2b

_SPACE = 2**64


def is_sampled(prediction_id: str, percent: int) -> bool:
    """Tell from its id whether a prediction is logged.

    Every replica, the server of a mirrored copy and the observer say the same of an id, so that a copy is compared with
    an answer that is there, and a label of a prediction that was never logged isn't waited for. A prediction that is
    logged at one percentage is logged at every larger one.

    Examples
    --------
    >>> sum(is_sampled(f"order-{i}", 30) for i in range(1000))
    298
    >>> is_sampled("anything", 100)
    True
    """
    if percent >= 100:  # noqa: PLR2004
        return True
    place = int.from_bytes(blake2b(prediction_id.encode(), digest_size=8).digest(), "big")
    return place * 100 < percent * _SPACE
