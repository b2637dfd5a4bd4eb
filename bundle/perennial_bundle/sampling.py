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
    return _hash(prediction_id) * 100 < percent * _SPACE


def sample_place(prediction_id: str) -> float:
    """Return a prediction's place in [0, 1], by which any share of all can be chosen: those before that share.

    `is_sampled` chooses by the same places, so that a share of what is sampled already is a smaller share of all.

    Examples
    --------
    >>> sum(sample_place(f"order-{i}") < 0.3 for i in range(1000))
    298
    """
    return _hash(prediction_id) / _SPACE


def _hash(prediction_id: str) -> int:
    return int.from_bytes(blake2b(prediction_id.encode(), digest_size=8).digest(), "big")
