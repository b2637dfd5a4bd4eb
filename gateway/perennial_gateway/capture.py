"""Show the agent what clients ask and are answered, for revisions whose own servers keep no log.

A script in Envoy keeps both bodies as they pass, and an access logger sends them to the agent, see `agent_calls.py`. Envoy's
external processing has no bound where it doesn't wait, its taps none in what the agent hasn't read, and a call for each
request would cost several times as much.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perennial_gateway.agent_calls import STATS_SCOPE, build_telling
from perennial_gateway.headers import CLIENT_HEADER, PREDICTION_HEADER, REVISION_HEADER, SHADOW_HEADER
from perennial_gateway.model import Backend, Route
from perennial_gateway.sticky import MOST_KEY_CHARACTERS

CAPTURE_CLUSTER = "capture"
CAPTURED_STAT = f"{STATS_SCOPE}.captured"
"""How many exchanges the agent should have been given."""

MOST_BYTES = 512 * 1024
"""Of a request and its answer together; of a larger one only that it was is told."""

METADATA = "perennial.capture"
JSON_BYTES_HEADER = "inference-header-content-length"
"""How many bytes of a body are JSON, in front of raw tensors."""

MOST_DIGITS = 20
TOLD = (
    f"%REQ({REVISION_HEADER})%",
    f"%REQ({PREDICTION_HEADER})%",
    f"%REQ({CLIENT_HEADER}?x-user-id):{MOST_KEY_CHARACTERS}%",
    f"%REQ({SHADOW_HEADER})%",
    "%REQ(content-encoding)%",
    "%RESP(content-encoding)%",
    f"%REQ({JSON_BYTES_HEADER}):{MOST_DIGITS}%",
    f"%RESP({JSON_BYTES_HEADER}):{MOST_DIGITS}%",
)
"""What is told of an exchange beside the bodies, in this order and one a line; a header has no line break."""

NOTHING = "-"
"""What Envoy writes for what isn't there, and the script for what is too large."""

_FILTER = "envoy.filters.http.lua"
_LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3"
_SCRIPT = Path(__file__).with_name("capture.lua")


def build_capture_filter(*, disabled: bool) -> dict[str, Any]:
    """Return the filter with the script; where it is disabled, it runs for those whose route has a part for it."""
    source = {"inline_string": f"local MOST_BYTES = {MOST_BYTES}\n{_SCRIPT.read_text()}"}
    config = {"@type": f"{_LUA}.Lua", "default_source_code": source}
    return {"name": _FILTER, "disabled": disabled, "typed_config": config}


def build_captured(route: Route, backend: Backend) -> dict[str, Any]:
    """Return a revision's part for the filter; empty where its server keeps the log, or nobody does."""
    if backend.log is None or route.is_grpc:
        return {}
    return {_FILTER: {"@type": f"{_LUA}.LuaPerRoute", "filter_context": {"route": str(route.key)}}}


def build_capture_logs() -> list[dict[str, Any]]:
    """Return the loggers of what the script has kept whole: one counts it, one sends it."""
    matcher = {"filter": METADATA, "path": [{"key": "answered"}], "value": {"present_match": True}}
    kept = {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}
    attributes = {
        "told": "\n".join(TOLD),
        "asked": f"%DYNAMIC_METADATA({METADATA}:asked)%",
        "answered": f"%DYNAMIC_METADATA({METADATA}:answered)%",
    }
    configs = build_telling("captured", CAPTURE_CLUSTER, attributes, flush="0.2s")
    return [{"name": name, "filter": kept, "typed_config": config} for name, config in configs.items()]
