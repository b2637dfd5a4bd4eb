"""The gRPC port: opened and closed with the process's other parts."""

from collections.abc import Callable

import grpc.aio

from perennial_server.engine.predictor import Predictor
from perennial_server.errors import StartupError
from perennial_server.rpc.service import InferenceService
from perennial_server.settings import Settings

MAX_CALLS = 256
"""At once. A message is whole before it is admitted, so that this alone bounds what the others hold; HTTP/2 carries few
calls at once from each of the routers."""


class RpcServer:
    """Serves the Open Inference Protocol over gRPC, in the running event loop.

    Parameters
    ----------
    predictor
        The model.
    is_ready
        Whether the server wants requests.
    """

    def __init__(self, predictor: Predictor, is_ready: Callable[[], bool]) -> None:
        self._settings = predictor.settings
        self._server = grpc.aio.server(
            handlers=(InferenceService(predictor, is_ready).handlers(),),
            options=build_options(predictor.settings),
            maximum_concurrent_rpcs=MAX_CALLS,
        )

    async def start(self) -> None:
        """Take the port and answer.

        Raises
        ------
        StartupError
            The port can't be used.
        """
        address = build_address(self._settings.host, self._settings.grpc_port)
        try:
            self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise StartupError(f"{address} can't be used for gRPC: {error}") from error
        await self._server.start()

    async def stop(self) -> None:
        """Refuse new calls, and give those under way ``drain_timeout_s`` to end."""
        await self._server.stop(self._settings.drain_timeout_s)


def build_address(host: str, port: int) -> str:
    """Build an address as gRPC reads it.

    >>> build_address("::", 3001)
    '[::]:3001'
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def build_options(settings: Settings) -> list[tuple[str, int]]:
    """Build the channel's options."""
    return [
        # Of a compressed message, what it unfolds to counts too.
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        # Two servers on one port would each get half of the calls.
        ("grpc.so_reuseport", 0),
        # Proxies and clients may ask every ten seconds whether we are there; a client that isn't is let go.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
