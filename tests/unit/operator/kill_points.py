"""Which writes the operator is killed at: a sample of them, or with PERENNIAL_CAMPAIGN=1 every one."""

import os
from collections.abc import Sequence

SAMPLED = 4


def choose_kill_points(numbers: Sequence[int], *, shift: int = 0) -> list[int]:
    """Return the writes to be killed at: all in the campaign, else some, spread evenly from the first to the last.

    Parameters
    ----------
    shift
        By how many places the sample is moved, so that two tests of the same writes don't kill at the same.
    """
    if os.environ.get("PERENNIAL_CAMPAIGN", "") not in ("", "0"):
        return list(numbers)
    step = max(1, -(-len(numbers) // SAMPLED))
    return list(numbers[shift % step :: step])
