"""What the test server is told by its environment, and how often each misbehaviour is due."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass


class Even:
    """Says yes to a share of its calls, evenly spread: after n calls the share is within 1/n of the rate, so that no
    test depends on luck.

    Parameters
    ----------
    rate
        Share of the calls, 0 to 1.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.calls = 0
        self.hits = 0

    def due(self) -> bool:
        """Count a call and say whether it is one of the share."""
        self.calls += 1
        if self.hits < int(self.calls * self.rate + 1e-9):
            self.hits += 1
            return True
        return False


def is_error_user(user: str, share: float) -> bool:
    """Whether a user is one of those that always fail: the same ones in every server, more of them for a larger share."""
    if not user:
        return False
    return int.from_bytes(hashlib.sha256(user.encode()).digest()[:8]) < share * 2**64


@dataclass(frozen=True)
class Knobs:
    """The environment, read once."""

    deployment: str
    revision: str
    port: int
    predict: float
    latency_s: float
    slow_s: float
    ready_delay_s: float
    error_rate: float
    invalid_rate: float
    slow_rate: float
    error_users: float
    fail_reason: str
    termination_log: str
    log: bool
    observer_url: str
    token_file: str
    bundle_digest: str
    reference_mean: float
    task: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Knobs":
        """Read them; see server.py for what each does."""
        deployment = environment.get("PERENNIAL_DEPLOYMENT", "model")
        digest = environment.get("PERENNIAL_BUNDLE_SHA256") or "0" * 64

        def text(name: str) -> str:
            return environment.get(f"{name}_{digest[:8]}") or environment.get(name) or ""

        def number(name: str, default: float = 0.0) -> float:
            return float(text(name) or default)

        return cls(
            deployment=deployment,
            revision=environment.get("PERENNIAL_REVISION", f"{deployment}-00000000"),
            port=int(number("PERENNIAL_PORT", 3000)),
            predict=number("PREDICT"),
            latency_s=number("LATENCY_MS") / 1000,
            slow_s=number("SLOW_MS", 1000) / 1000,
            ready_delay_s=number("READY_DELAY_S"),
            error_rate=number("ERROR_RATE"),
            invalid_rate=number("INVALID_RATE"),
            slow_rate=number("SLOW_RATE"),
            error_users=number("ERROR_USERS"),
            fail_reason=text("FAIL_REASON"),
            termination_log=environment.get("TERMINATION_LOG", "/dev/termination-log"),
            log=environment.get("LOG", "").lower() == "true",
            observer_url=environment.get("PERENNIAL_OBSERVER_URL", "").rstrip("/"),
            token_file=environment.get("PERENNIAL_TOKEN_FILE", ""),
            bundle_digest=f"sha256:{digest}",
            reference_mean=number("REFERENCE_MEAN"),
            task=text("TASK") or "Classification",
        )
