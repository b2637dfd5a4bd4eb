"""``perennial-server``: one process, one event loop, one bundle."""

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn
import uvloop
from perennial_bundle import BundleError
from pydantic import ValidationError

from perennial_server.errors import StartupError
from perennial_server.loading.errors import LoadTimeout
from perennial_server.loading.progress import Progress
from perennial_server.loading.waiting import answer_while_loading
from perennial_server.rest.asgi import CLOSE
from perennial_server.rest.front import Front
from perennial_server.rest.pacing import Pacer
from perennial_server.rest.refusing import RefusingProtocol
from perennial_server.runtime import Runtime, start_runtime
from perennial_server.settings import Settings

logger = logging.getLogger(__name__)

MAX_MESSAGE_CHARACTERS = 2000  # the kubelet keeps 4,096 bytes
LONGEST_TURN_S = 20.0  # that a refused connection waits before it is read again
GARBAGE_OBJECTS = 20_000  # objects, not yet freed, after which the collector looks for cycles among them
# How long a thread may keep the others waiting for the interpreter. The event loop waits for it at each socket that it
# reads: at Python's 5 ms, a model or a log that works in a thread would hold up every connection one after the other.
SWITCH_S = 0.0005


class DrainingServer(uvicorn.Server):
    """A uvicorn server that ends gently: unready first, closed after the delay.

    Between SIGTERM and the moment when every router has heard of it, requests still come; closing the port at once
    would fail them. The gRPC port closes with it, and both give the calls under way the same time.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        runtime: Runtime,
        loop: asyncio.AbstractEventLoop,
        close_rpc: Callable[[], Awaitable[None]] | None,
    ) -> None:
        super().__init__(config)
        self._runtime = runtime
        self._loop = loop
        self._close_rpc = close_rpc

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close both ports."""
        if self._close_rpc is None:
            await super().shutdown(sockets)
        else:
            await asyncio.gather(super().shutdown(sockets), self._close_rpc())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  uvicorn's name
        """Begin to drain; a second signal ends it at once."""
        if sig == signal.SIGTERM and self._runtime.v2.ready:
            self._runtime.v2.ready = False
            self._loop.call_soon_threadsafe(self._close_later)
        else:
            self.should_exit = True

    def _close_later(self) -> None:
        # Whoever still has a connection gets one more answer on it, so that none is cut when the port closes. The second
        # list is made of the first once a second.
        self.config.encoded_headers.append(CLOSE)
        self.server_state.default_headers.append(CLOSE)
        self._loop.call_later(
            self._runtime.predictor.settings.drain_delay_s, setattr, self, "should_exit", True
        )


async def serve(settings: Settings) -> None:
    """Serve until a signal.

    Raises
    ------
    BundleError, StartupError
        The server can't start.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    with listen(settings.host, settings.port) as sock:
        # The first process of a container ignores signals that it doesn't handle.
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, task.cancel)
        progress = Progress()
        try:
            async with answer_while_loading(sock, progress):
                runtime = await start_runtime(settings, progress)
        except LoadTimeout as error:
            # The thread that hangs can't be ended, and an orderly end would wait for it.
            report_failure(settings.termination_log, error.reason, str(error))
            os._exit(1)
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(sig)
        front = Front(runtime)
        predictor = runtime.predictor
        pacer = Pacer(settings.max_refusals_per_s, LONGEST_TURN_S, lambda: predictor.has_waiting)
        config = uvicorn.Config(
            front,
            # A class by uvicorn's type, and called like one.
            http=partial(RefusingProtocol, predictor.turn_away, pacer, settings.revision, predictor.metrics),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(settings.drain_timeout_s)),
        )
        try:
            close_rpc = await open_rpc(runtime)
            spare_collector()
            await DrainingServer(config, runtime, loop, close_rpc).serve(sockets=[sock])
        finally:
            await front.close()
            await runtime.close()


async def open_rpc(runtime: Runtime) -> Callable[[], Awaitable[None]] | None:
    """Serve gRPC if it is wanted, and return what closes it; who doesn't want it doesn't load it.

    Raises
    ------
    StartupError
        The port can't be used.
    """
    if not runtime.predictor.settings.grpc_port:
        return None
    from perennial_server.rpc.server import RpcServer

    server = RpcServer(runtime.predictor, lambda: runtime.v2.accepts)
    await server.start()
    return server.stop


def spare_collector() -> None:
    """Have Python's garbage collector overlook what stays to the end.

    To look through the model and its libraries takes a tenth of a second, in which nobody is answered; under load that
    would happen every few seconds.
    """
    gc.collect()
    gc.freeze()
    # What a request makes is freed as soon as nobody uses it; the collector is for cycles, and those are few.
    gc.set_threshold(GARBAGE_OBJECTS)


def listen(host: str, port: int) -> socket.socket:
    """Take the port, for those who answer on it before and after the model is loaded.

    Raises
    ------
    StartupError
        It is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise StartupError(f"{host}:{port} can't be used: {error}") from error
    return sock


def report_failure(path: Path, reason: str, message: str) -> None:
    """Write why the server couldn't start to where the kubelet looks, and to stderr."""
    report = json.dumps({"reason": reason, "message": message[:MAX_MESSAGE_CHARACTERS]})
    print(report, file=sys.stderr)
    try:
        path.write_text(report, encoding="utf-8")
    except OSError as error:
        print(f"{path} can't be written: {error}", file=sys.stderr)


def main() -> int:
    """Run the server; 0 after a signal, 1 if it can't start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        default = Settings.model_fields["termination_log"].default
        path = Path(os.environ.get("PERENNIAL_TERMINATION_LOG") or default)
        report_failure(path, StartupError.reason, f"PERENNIAL_{name}: {first['msg']}")
        return 1
    sys.setswitchinterval(SWITCH_S)
    try:
        uvloop.run(serve(settings))
    except asyncio.CancelledError:
        logger.info("ended by a signal before the model was ready")
    except (BundleError, StartupError) as error:
        report_failure(settings.termination_log, error.reason, str(error))
        return 1
    except Exception as error:
        logger.exception("the server failed")
        report_failure(settings.termination_log, StartupError.reason, f"{type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
