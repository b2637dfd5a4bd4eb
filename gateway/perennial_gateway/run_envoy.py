"""Start Envoy, so that it serves the last good configuration before anything else has happened."""

from __future__ import annotations

import json
import os
import uuid

from perennial_gateway.bootstrap import build_bootstrap
from perennial_gateway.files import write_atomically, write_if_missing
from perennial_gateway.resources import build_pin_configuration, build_route_configuration, render_response
from perennial_gateway.settings import EnvoySettings

EMPTY_VERSION = "empty"


def prepare(settings: EnvoySettings) -> list[str]:
    """Write what Envoy reads at start, and return its command line."""
    settings.gateway_directory.mkdir(parents=True, exist_ok=True)
    write_if_missing(settings.cds_path, render_response([], EMPTY_VERSION))
    routes = build_route_configuration({}, gateway_url="")
    write_if_missing(settings.rds_path, render_response([routes], EMPTY_VERSION))
    write_if_missing(settings.pins_path, render_response([build_pin_configuration({})], EMPTY_VERSION))
    bootstrap = build_bootstrap(settings, epoch=uuid.uuid4().hex)
    write_atomically(settings.bootstrap_path, json.dumps(bootstrap, indent=1).encode())
    settings.admin_socket.unlink(missing_ok=True)
    settings.shadow_socket.unlink(missing_ok=True)
    return [
        settings.envoy_binary,
        "--config-path",
        str(settings.bootstrap_path),
        "--concurrency",
        str(settings.envoy_concurrency),
        "--disable-hot-restart",
        # While draining, every answer asks for its connection to be closed: none is idle at the end.
        "--drain-strategy",
        "immediate",
        "--log-level",
        "warning",
        # It would write a line for each message of the prediction log that is dropped; they are counted.
        "--component-log-level",
        "misc:critical",
    ]


def run_envoy(settings: EnvoySettings) -> None:
    """Become Envoy."""
    command = prepare(settings)
    os.execvp(command[0], command)  # noqa: S606 - no shell, and our own arguments
