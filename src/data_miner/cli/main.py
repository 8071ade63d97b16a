"""The program `data-miner`: its commands, and what a person sees when one fails.

A command's module is imported when the command is used: `status` must not wait for what only
`run` needs.
"""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Final

import typer
from typer.core import TyperGroup

from data_miner import __version__
from data_miner.errors import DataMinerError, NotFoundError, StorageError

EXIT_INTERRUPTED: Final = 130
COMMANDS_GROUP: Final = "data_miner.commands"
COMMANDS: Final[dict[str, str]] = {
    "demo": "data_miner.cli.running:demo",
    "run": "data_miner.cli.running:run",
    "plan": "data_miner.cli.projects:plan",
    "apply": "data_miner.cli.projects:apply",
    "status": "data_miner.cli.projects:status",
    "explain": "data_miner.cli.explaining:explain",
    "pause": "data_miner.cli.life:pause",
    "resume": "data_miner.cli.life:resume",
    "cancel": "data_miner.cli.life:cancel",
    "retry": "data_miner.cli.life:retry",
    "delete": "data_miner.cli.life:delete",
    "workers": "data_miner.cli.database:workers",
    "db": "data_miner.cli.database:db",
}
"""In the order in which a newcomer meets them; those of other packages follow."""


class _Lazy(TyperGroup):
    """Knows the commands by name, and loads one when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        others = sorted(point.name for point in entry_points(group=COMMANDS_GROUP))
        return [*COMMANDS, *others]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        try:
            loaded = _load(cmd_name)
        except ModuleNotFoundError as error:
            if not error.name or error.name.startswith("data_miner"):
                raise
            return _not_here(cmd_name, error.name.partition(".")[0])
        if loaded is None:
            return None
        if isinstance(loaded, typer.Typer):
            group = typer.main.get_group(loaded)
            group.name = cmd_name
            return group
        app = typer.Typer(**_STYLE)
        app.command(cmd_name, context_settings=_STYLE["context_settings"])(loaded)
        return typer.main.get_command(app)


def _load(name: str) -> Callable[..., Any] | typer.Typer | None:
    if name in COMMANDS:
        module, _, attribute = COMMANDS[name].partition(":")
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
    points = [p for p in entry_points(group=COMMANDS_GROUP) if p.name == name]
    return points[0].load() if points else None


def _not_here(name: str, package: str) -> Any:
    """A command in an installation without what it needs, such as a worker's or an operator's."""

    def refuse() -> None:
        raise NotFoundError(
            f"{name} needs the Python package {package}, which is not installed here; "
            "install data-miner with the extra that has it (local, operator), or use another image"
        )

    refuse.__doc__ = f"Not here: needs the Python package {package}."
    app = typer.Typer(**_STYLE)
    context = {**_STYLE["context_settings"], "ignore_unknown_options": True}
    app.command(name, context_settings={**context, "allow_extra_args": True})(refuse)
    return typer.main.get_command(app)


_STYLE: Final[dict[str, Any]] = {
    "pretty_exceptions_enable": False,
    "add_completion": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}

app = typer.Typer(
    name="data-miner",
    cls=_Lazy,
    help="Mine image datasets out of video: one YAML in, a labelled dataset out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_say_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Mine image datasets out of video: one YAML in, a labelled dataset out."""
    del version


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
