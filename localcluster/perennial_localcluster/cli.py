"""The ``perennial-localcluster`` command."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from perennial_localcluster import addons, cluster, images
from perennial_localcluster.errors import LocalClusterError
from perennial_localcluster.paths import find_paths
from perennial_localcluster.record import load_record


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; every expected failure is a message and a 1."""
    options = build_parser().parse_args(arguments)
    try:
        action: Callable[[argparse.Namespace], int] = options.action
        return action(options)
    except LocalClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"error: {error}. Run the command with `sudo`, as `up` was.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on from here", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="perennial-localcluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="bring up the cluster, or recover it")
    up.add_argument("--kubeconfig", type=Path, help="use the cluster of this file instead of making one")
    up.add_argument(
        "--with",
        dest="addons",
        action="append",
        default=[],
        choices=addons.OPTIONAL,
        help="also run this; it stays until `down`",
    )
    up.set_defaults(action=_up)

    build = commands.add_parser("build", help="compile the programs that `up` will need; starts nothing")
    build.set_defaults(action=_build)

    down = commands.add_parser("down", help="take the cluster away and restore the machine")
    down.add_argument("--purge-cache", action="store_true", help="also delete built binaries and images")
    down.set_defaults(action=_down)

    status = commands.add_parser("status", help="show components and node; exit status 1 if one is unwell")
    status.add_argument("-o", "--output", choices=["table", "json"], default="table")
    status.set_defaults(action=_status)

    image = commands.add_parser("build-image", help="build an image, unless nothing of it changed")
    image.add_argument("name", metavar="NAME")
    image.add_argument("context", metavar="CONTEXT_DIR", type=Path)
    image.add_argument("--containerfile", type=Path, help="default: CONTEXT_DIR/Containerfile")
    image.add_argument("--build-arg", action="append", default=[], metavar="KEY=VALUE")
    image.add_argument("--volume", action="append", default=[], metavar="HOST:IMAGE[:OPTIONS]")
    image.set_defaults(action=_build_image)

    load = commands.add_parser("load-image", help="load built images into the cluster")
    load.add_argument("names", metavar="NAME", nargs="+")
    load.set_defaults(action=_load_image)

    commands.add_parser("kubeconfig", help="print the kubeconfig's path").set_defaults(action=_kubeconfig)
    commands.add_parser("env", help="print export lines for a shell").set_defaults(action=_env)
    return parser


def _up(options: argparse.Namespace) -> int:
    record = cluster.up(kubeconfig=options.kubeconfig, wanted_addons=options.addons)
    print(f'The {record.backend} cluster is ready. Use it: eval "$(perennial-localcluster env)"')
    return 0


def _build(_options: argparse.Namespace) -> int:
    cluster.build()
    return 0


def _down(options: argparse.Namespace) -> int:
    cluster.down(purge_cache=options.purge_cache)
    return 0


def _status(options: argparse.Namespace) -> int:
    status = cluster.build_status()
    if options.output == "json":
        print(json.dumps(status, indent=2))
    else:
        _print_status(status)
    return 0 if cluster.is_healthy(status) else 1


def _print_status(status: dict[str, Any]) -> None:
    table = Table("COMPONENT", "PID", "HEALTHY", box=None)
    for row in status["components"]:
        table.add_row(row["component"], str(row["pid"] or "-"), "yes" if row["healthy"] else "NO")
    for node in status["nodes"]:
        versions = f"node {node['name']} ({node['kubelet']}, {node['runtime']})"
        table.add_row(versions, "-", "yes" if node["ready"] else "NO")
    server = status["apiServer"]
    answer = f"answers, {server['version']}" if server["ready"] else "does not answer"
    print(f"{status['backend']} cluster in {status['state']}; {server['address']} {answer}")
    Console().print(table)


def _build_image(options: argparse.Namespace) -> int:
    built = images.build(
        options.name,
        options.context,
        containerfile=options.containerfile,
        build_args=dict(argument.partition("=")[::2] for argument in options.build_arg),
        volumes=options.volume,
    )
    print(f"{built.name} {built.image_id}{' (unchanged)' if built.unchanged else ''}")
    return 0


def _load_image(options: argparse.Namespace) -> int:
    for name in images.load(*options.names):
        print(f"loaded {name}")
    return 0


def _kubeconfig(_options: argparse.Namespace) -> int:
    print(load_record(find_paths()).kubeconfig)
    return 0


def _env(_options: argparse.Namespace) -> int:
    for name, value in cluster.build_environment().items():
        # The shell's own PATH stays in front of nothing: it is extended, not replaced.
        text = value if name != "PATH" else f"{find_paths().bin}:$PATH"
        print(f'export {name}="{text}"' if name == "PATH" else f"export {name}={shlex.quote(text)}")
    return 0
