"""Put the commands of `kubectl perennial` together; what goes wrong on purpose is one sentence and an exit status."""

from __future__ import annotations

import sys

import typer
from rich.markup import escape

from perennial.cli.commands.get import get
from perennial.cli.commands.history import history, why
from perennial.cli.commands.push import push
from perennial.cli.commands.status import status
from perennial.cli.commands.verbs import abort, pause, promote, resume, retry, undo
from perennial.cli.commands.weights import weights
from perennial.cli.completion import PROGRAM, completion
from perennial.cli.errors import CliError, UsageError
from perennial.cli.output import open_error_console

__all__ = ["app", "main"]

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name=PROGRAM,
    no_args_is_help=True,
    help="Look after models on Kubernetes. Exit status: 0 done, 1 refused or failed, 2 wrong usage.",
)
for _panel, _commands in {
    "Look": (get, status, history, why, weights),
    "Steer a rollout or an experiment": (promote, abort, retry, pause, resume, undo),
    "Bundles and shells": (push, completion),
}.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except CliError as error:
        open_error_console().print(f"[red]Error:[/] {escape(str(error))}", highlight=False)
        sys.exit(EXIT_USAGE if isinstance(error, UsageError) else EXIT_REFUSED)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
