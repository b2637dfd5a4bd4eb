"""The answer of one small check; decisions are chains of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["Verdict", "first_refusal"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a check passed, why in one CamelCase word, and a sentence that says what to do."""

    passed: bool
    reason: str
    message: str = ""


def first_refusal(checks: Iterable[Callable[[], Verdict]]) -> Verdict | None:
    """Run the checks in order and return the first that didn't pass, or None."""
    for check in checks:
        verdict = check()
        if not verdict.passed:
            return verdict
    return None
