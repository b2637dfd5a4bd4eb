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
CLIENT_KEY = "client"
COOKIE_FILTER = "envoy.filters.http.header_to_metadata"
COOKIE_FILTER_TYPE = "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config"
MOST_KEY_CHARACTERS = 8192
"""Of a client's header, as it is counted; a longer one is cut."""


def build_matched(sticky: Stickiness) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the match of requests that carry a key, and what their route does about it."""
    if sticky.is_cookie:
        match = _header_match("cookie", rf"(.*?;\s*)?{sticky.name}=[^;]+(;.*)?")
        policy = _hash_policy("cookie", rf"^(?:.*?;\s*)?{sticky.name}=([^;]+).*$", rf"{sticky.salt}:\1")
    else:
        match = _header_match(sticky.name, ".+")
        policy = _hash_policy(sticky.name, "^", f"{sticky.salt}:")
    part = _sticky_part(sticky, policy)
    if sticky.is_cookie:
        # Not the whole header: another cookie beside it would make the client a new one in every count.
        key = f"%DYNAMIC_METADATA({METADATA}:{CLIENT_KEY})%"
        part["typed_per_filter_config"] = {COOKIE_FILTER: _reading(sticky.name)}
    else:
        key = f"%REQ({sticky.name}):{MOST_KEY_CHARACTERS}%"
    return match, part | {"request_headers_to_add": [overwrite(CLIENT_HEADER, key)]}


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
    return {
        "metadata": {"filter_metadata": {METADATA: {SALT_KEY: sticky.salt}}},
        "route": {"hash_policy": [policy]},
    }


def _reading(cookie: str) -> dict[str, Any]:
    """Return what a route tells the filter that takes a cookie out of its header."""
    found = {"metadata_namespace": METADATA, "key": CLIENT_KEY, "type": "STRING"}
    return {"@type": COOKIE_FILTER_TYPE, "request_rules": [{"cookie": cookie, "on_header_present": found}]}


def _header_match(name: str, pattern: str) -> dict[str, Any]:
    return {"name": name, "string_match": {"safe_regex": {"regex": pattern}}}


def _hash_policy(header: str, pattern: str, substitution: str) -> dict[str, Any]:
    rewrite = {"pattern": {"regex": pattern}, "substitution": substitution}
    return {"header": {"header_name": header, "regex_rewrite": rewrite}}
