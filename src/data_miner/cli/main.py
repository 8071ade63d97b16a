"""The program `data-miner`: its commands, and what a person sees when one fails."""

from __future__ import annotations

import errno
import sys
from importlib.metadata import entry_points
from typing import Any

import typer
from typer.core import TyperGroup

from data_miner import __version__
from data_miner.cli import database, projects, running
from data_miner.errors import DataMinerError, StorageError

EXIT_INTERRUPTED = 130
COMMANDS_GROUP = "data_miner.commands"


class _InOrder(TyperGroup):
    """Lists the commands in the order in which a newcomer meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(self.commands)


app = typer.Typer(
    name="data-miner",
    cls=_InOrder,
    help="Mine image datasets out of video: one YAML in, a labelled dataset out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(hidden=True)
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


running.register(app)
projects.register(app)
database.register(app)
for _point in sorted(entry_points(group=COMMANDS_GROUP), key=lambda p: p.name):
    _command = _point.load()
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_point.name)
    else:
        app.command(_point.name)(_command)


def main() -> None:
    """Run the program; every expected failure is one line on stderr and its own exit code."""
    try:
        app()
    except DataMinerError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"error: {line}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {where}{error.strerror}; make room and run it again\n")
        sys.exit(StorageError.exit_code)


if __name__ == "__main__":
    main()
