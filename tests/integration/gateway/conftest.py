"""Fixtures: an observer that answers anything, and a gateway pod."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.gateway.backends import Backend, running
from tests.integration.gateway.harness import GatewayPod


@pytest.fixture
async def observer() -> AsyncIterator[Backend]:
    async with running("observer") as backend:
        yield backend


@pytest.fixture
async def pod(observer: Backend) -> AsyncIterator[GatewayPod]:
    async with GatewayPod(observer.port) as gateway:
        yield gateway
