"""`push`: put a bundle or a data set into the installation's store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from perennial.cli.archive import open_archive
from perennial.cli.options import INSTALLATION, Context, Form, Installation, Kubeconfig, Output, connect
from perennial.cli.output import open_error_console, print_json

__all__ = ["push"]


def push(
    source: Annotated[
        Path,
        typer.Argument(
            help="A bundle's directory or tar, or a data set in one Parquet file.", metavar="DIR|FILE"
        ),
    ],
    installation: Installation = INSTALLATION,
    output: Output = Form.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Push a model bundle into the store and print the uri for spec.model.uri."""
    from perennial.cli.push import push as push_archive

    with open_archive(source) as archive:
        cluster = connect(kubeconfig, context)
        bar = Progress(
            TextColumn(archive.digest[:19]),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=open_error_console(),
            transient=True,
        )
        with bar:
            task = bar.add_task("push", total=archive.size_bytes)
            created = push_archive(cluster, archive, installation, lambda size: bar.advance(task, size))
        if output is Form.JSON:
            print_json(
                {
                    "uri": archive.uri,
                    "digest": archive.digest,
                    "sizeBytes": archive.size_bytes,
                    "created": created,
                },
                is_line=True,
            )
        else:
            print(archive.uri)
