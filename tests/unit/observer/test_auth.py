import asyncio

import pytest
from perennial_api.labels import ServiceAccountRole
from perennial_observer.auth import Authenticator, Caller
from perennial_observer.errors import Forbidden, Unauthenticated, Unavailable
from perennial_observer.store.rows import DeploymentKey

CALLER = Caller(ServiceAccountRole.SERVER, DeploymentKey("uid", "shop", "wine"))


class Reader:
    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, token):
        self.asked += 1
        await self.gate.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_known_token_is_not_asked_about_again_until_it_is_old():
    reader, clock = Reader(CALLER, CALLER), Clock()
    auth = Authenticator(reader, 60.0, clock)
    assert [await auth.identify("t") for _ in range(3)] == [CALLER] * 3
    assert reader.asked == 1
    clock.now = 61.0
    await auth.identify("t")
    assert reader.asked == 2


async def test_callers_at_the_same_time_share_one_question():
    reader = Reader(CALLER)
    reader.gate.clear()
    auth = Authenticator(reader, 60.0, Clock())
    asking = [asyncio.create_task(auth.identify("t")) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    reader.gate.set()
    assert await asyncio.gather(*asking[1:]) == [CALLER] * 4
    assert reader.asked == 1


async def test_a_refusal_is_remembered_shortly_and_an_outage_never():
    clock = Clock()
    reader = Reader(Unavailable("down"), Unauthenticated("bad"), CALLER)
    auth = Authenticator(reader, 60.0, clock)
    with pytest.raises(Unavailable):
        await auth.identify("t")
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await auth.identify("t")
    assert reader.asked == 2
    clock.now = 3.0
    assert await auth.identify("t") == CALLER


@pytest.mark.parametrize("token", ["", "x" * 20_000])
async def test_no_token_or_a_huge_one_is_refused_unasked(token):
    reader = Reader()
    with pytest.raises(Unauthenticated):
        await Authenticator(reader, 60.0, Clock()).identify(token)
    assert reader.asked == 0


def test_a_role_that_may_not_is_told_which_may():
    with pytest.raises(Forbidden, match="takes Trainer"):
        CALLER.require(ServiceAccountRole.TRAINER)
    assert CALLER.require(ServiceAccountRole.SERVER) == CALLER.deployment
