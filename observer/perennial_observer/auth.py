"""Who is calling: role and deployment come from the token, never from a payload."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from perennial_api.labels import ServiceAccountRole

from perennial_observer.errors import Forbidden, ObserverError, Unauthenticated, Unavailable
from perennial_observer.store.rows import DeploymentKey

__all__ = ["Authenticator", "Caller", "IdentityReader"]

MAX_TOKEN_CHARACTERS = 16_384
MAX_CACHED = 10_000
# A refused token is asked about again soon: its ServiceAccount may only just have been made.
REFUSAL_CACHE_S = 2.0


@dataclass(frozen=True)
class Caller:
    """What a token says. `deployment` is None for a Pusher and the Gateway only."""

    role: ServiceAccountRole
    deployment: DeploymentKey | None

    def require(self, *roles: ServiceAccountRole) -> DeploymentKey:
        """Return the caller's deployment if its role is one of `roles`.

        Raises
        ------
        Forbidden
            Otherwise.
        """
        self.require_role(*roles)
        if self.deployment is None:
            raise Forbidden("this token belongs to no ModelDeployment", "NoDeployment")
        return self.deployment

    def require_role(self, *roles: ServiceAccountRole) -> None:
        """Raise Forbidden unless the role is one of `roles`."""
        if self.role not in roles:
            wanted = " or ".join(role.value for role in roles)
            raise Forbidden(
                f"a token of role {self.role.value} may not do this: it takes {wanted}", "WrongRole"
            )


class IdentityReader(Protocol):
    """Asks the cluster about a token; the tests' fake and the real one pass the same contract."""

    async def read(self, token: str) -> Caller:
        """Return who it is, or raise Unauthenticated, Forbidden or Unavailable."""
        ...


@dataclass
class Authenticator:
    """Remembers answers about tokens for a while, keyed by a hash of the token.

    Parameters
    ----------
    ttl_s
        How long an accepted token is remembered; a deleted ServiceAccount keeps its rights that long.
    clock
        Monotonic seconds.
    """

    reader: IdentityReader
    ttl_s: float
    clock: Callable[[], float]
    _known: "OrderedDict[str, tuple[float, Caller | ObserverError]]" = field(default_factory=OrderedDict)
    _asking: "dict[str, asyncio.Future[Caller | ObserverError]]" = field(default_factory=dict)

    async def identify(self, token: str) -> Caller:
        """Return the caller, asking the cluster at most once at a time for each token.

        Raises
        ------
        Unauthenticated, Forbidden, Unavailable
            As the reader says.
        """
        if not token or len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthenticated("send a ServiceAccount token in Authorization: Bearer or X-Perennial-Token")
        key = hashlib.sha256(token.encode()).hexdigest()
        answer = self._recall(key)
        if answer is None:
            asking = self._asking.get(key)
            if asking is None:
                asking = asyncio.ensure_future(self._ask(key, token))
                self._asking[key] = asking
            # One caller's disconnect must not cancel the question for the others.
            answer = await asyncio.shield(asking)
        if isinstance(answer, ObserverError):
            raise type(answer)(answer.message, answer.reason)
        return answer

    def _recall(self, key: str) -> Caller | ObserverError | None:
        found = self._known.get(key)
        if found is None or found[0] <= self.clock():
            return None
        return found[1]

    async def _ask(self, key: str, token: str) -> Caller | ObserverError:
        answer: Caller | ObserverError
        try:
            answer = await self.reader.read(token)
        except ObserverError as error:
            answer = error
        finally:
            self._asking.pop(key, None)
        if not isinstance(answer, Unavailable):
            ttl_s = self.ttl_s if isinstance(answer, Caller) else REFUSAL_CACHE_S
            self._known[key] = (self.clock() + ttl_s, answer)
            self._known.move_to_end(key)
            while len(self._known) > MAX_CACHED:
                self._known.popitem(last=False)
        return answer
