"""The API server's public keys, for Envoy's check of ServiceAccounts' tokens on the pinning port."""

from __future__ import annotations

from http import HTTPStatus

import aiohttp
from kubernetes.aio import client

from perennial_gateway.errors import KeysUnavailable


class ServiceAccountKeys:
    """Reads `/openid/v1/jwks`; what was read last stands in while the API server doesn't answer."""

    def __init__(self, api: client.ApiClient, timeout_s: float) -> None:
        self._read = client.OpenidApi(api).get_service_account_issuer_open_id_keyset_without_preload_content
        self._timeout_s = timeout_s
        self._last = b""

    async def read(self) -> bytes:
        """Return the key set as JSON.

        Raises
        ------
        KeysUnavailable
            It has never been read, and can't be now.
        """
        try:
            response: aiohttp.ClientResponse = await self._read(_request_timeout=self._timeout_s)
            if response.status == HTTPStatus.OK:
                self._last = await response.read()
            problem = f"the API server answers {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            problem = repr(error)
        if not self._last:
            raise KeysUnavailable(f"no keys to check tokens with: {problem}")
        return self._last
