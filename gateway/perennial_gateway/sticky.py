"""Bind clients to revisions: Envoy hashes salt and key, and the hash falls into one of the route's slots.

Envoy hashes a header's value only; the salt comes in by rewriting the value before it is hashed. A
weight that grows at the front of the slots takes clients from its neighbour and moves nobody else.
"""

from __future__ import annotations

from typing import Any

from perennial_gateway.headers import CLIENT_HEADER, overwrite
from perennial_gateway.model import Stickiness

METADATA = "perennial"
SALT_KEY = "salt"
COOKIE_KEY = "cookie"
MOST_KEY_CHARACTERS = 8192
"""Of a client's key, as it is counted; a longer one is cut."""


def build_matched(sticky: Stickiness) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the match of requests that carry a key, and what their route does about it."""
    if sticky.is_cookie:
        match = _header_match("cookie", rf"(.*?;\s*)?{sticky.name}=[^;]+(;.*)?")
        policy = _hash_policy("cookie", rf"^(?:.*?;\s*)?{sticky.name}=([^;]+).*$", rf"{sticky.salt}:\1")
    else:
        match = _header_match(sticky.name, ".+")
        policy = _hash_policy(sticky.name, "^", f"{sticky.salt}:")
    # Envoy has no operator for one cookie: the agent takes it out of the whole header.
    source = "cookie" if sticky.is_cookie else sticky.name
    key = f"%REQ({source}):{MOST_KEY_CHARACTERS}%"
    return match, _sticky_part(sticky, policy) | {"request_headers_to_add": [overwrite(CLIENT_HEADER, key)]}


def build_issuing(sticky: Stickiness, path: str) -> dict[str, Any]:
    """Return what a route does for requests without the cookie: the fresh draw becomes the cookie.

    The draw is hashed as the cookie will be, so the first request already goes where later ones do.
    """
    policy = _hash_policy(CLIENT_HEADER, "^", f"{sticky.salt}:")
    lifetime = "" if sticky.ttl_s is None else f"; Max-Age={sticky.ttl_s}"
    cookie = f"{sticky.name}=%REQ({CLIENT_HEADER})%; Path={path}{lifetime}; HttpOnly; SameSite=Lax"
    header = {"header": {"key": "set-cookie", "value": cookie}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}
    return _sticky_part(sticky, policy) | {"response_headers_to_add": [header]}


def _sticky_part(sticky: Stickiness, policy: dict[str, Any]) -> dict[str, Any]:
    metadata = {SALT_KEY: sticky.salt} | ({COOKIE_KEY: sticky.name} if sticky.is_cookie else {})
    return {
        "metadata": {"filter_metadata": {METADATA: metadata}},
        "route": {"hash_policy": [policy]},
    }


def _header_match(name: str, pattern: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"safe_regex": {"regex": pattern}}}


def _hash_policy(header: str, pattern: str, substitution: str) -> dict[str, Any]:
    rewrite = {"pattern": {"regex": pattern}, "substitution": substitution}
    return {"header": {"header_name": header, "regex_rewrite": rewrite}}
