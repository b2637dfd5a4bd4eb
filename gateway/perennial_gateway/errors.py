"""What can go wrong in the router agent, split by what its loop does about it."""

from __future__ import annotations


class GatewayError(Exception):
    """Root of the router agent's errors."""


class EnvoyUnavailable(GatewayError):
    """Envoy's admin interface doesn't answer, or a file isn't taken up in time: try again later."""


class ConfigRejected(GatewayError):
    """Envoy has refused the configuration: find the route at fault."""


class InvalidRoute(GatewayError):
    """A ModelRoute or EndpointSlice can't be used as it is: quarantine it and say why."""


class KeysUnavailable(GatewayError):
    """The API server's keys have never been read: nobody can be authenticated yet."""
