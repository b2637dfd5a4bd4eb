"""The sidecar process: ``perennial-detectors`` serves, ``perennial-detectors --check`` is its probe."""

import argparse
import logging
import signal
import socket
import threading
from pathlib import Path

from perennial_detectors.engine import Engine
from perennial_detectors.errors import EngineUnavailable
from perennial_detectors.protocol import pack, read_frame, unpack, write_frame
from perennial_detectors.server import DetectorServer

__all__ = ["main"]

_LOG = logging.getLogger(__name__)

DEFAULT_SOCKET = "/var/run/perennial-detectors/detectors.sock"


def main() -> None:
    """Serve until SIGTERM, or check a server that runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, default=Path(DEFAULT_SOCKET), help="path of the Unix socket")
    parser.add_argument(
        "--check", action="store_true", help="exit 0 if a server answers there and its engine is loaded"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if options.check:
        raise SystemExit(_check(options.socket))
    _serve(options.socket)


def _serve(path: Path) -> None:
    engine = Engine()
    unavailable = None
    try:
        engine.load()
    except EngineUnavailable as error:
        unavailable = error
        _LOG.error("engine unavailable reason=%s message=%s", error.reason, error.message)
    # The socket appears only now: its existence means that the import is over.
    with DetectorServer(path, engine, unavailable=unavailable) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        _LOG.info("serving socket=%s alibi_detect=%s", path, engine.version or "none")
        server.serve_forever()
    path.unlink(missing_ok=True)


def _check(path: Path) -> int:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5.0)
            connection.connect(str(path))
            write_frame(connection, pack("request", {"op": "version"}, {}))
            answer, _ = unpack("answer", read_frame(connection, 1 << 20), 1 << 20)
    except OSError as error:
        print(f"not answering: {error}")
        return 1
    print(answer)
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    main()
