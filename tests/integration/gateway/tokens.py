"""A cluster's signing key in miniature: tokens of ServiceAccounts, and the key set that proves them."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _encode_number(number: int) -> str:
    return _encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))


class Issuer:
    """Signs tokens as the API server does."""

    def __init__(self, key_id: str = "k1") -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key_id = key_id

    def jwks(self) -> bytes:
        numbers = self._key.public_key().public_numbers()
        key = {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self._key_id,
            "n": _encode_number(numbers.n),
            "e": _encode_number(numbers.e),
        }
        return json.dumps({"keys": [key]}).encode()

    def token(self, audience: str = "perennial-gateway", valid_s: float = 600, **claims: Any) -> str:
        now = int(time.time())
        body = {
            "iss": "https://kubernetes.default.svc",
            "aud": [audience],
            "exp": now + int(valid_s),
            "iat": now,
            "sub": "system:serviceaccount:shop:tester",
            **claims,
        }
        header = {"alg": "RS256", "kid": self._key_id}
        parts = [_encode(json.dumps(part).encode()) for part in (header, body)]
        signature = self._key.sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
        return ".".join([*parts, _encode(signature)])
