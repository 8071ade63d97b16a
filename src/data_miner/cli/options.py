"""Options that several commands share, and what they lead to."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Engine

from data_miner import telemetry, tracing
from data_miner.local.database import open_database
from data_miner.settings import Settings

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="Folder of the installation: database, store, datasets, logs.",
        envvar="DATA_MINER_HOME",
        show_default="~/.data-miner",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the project.")]
Name = Annotated[str, typer.Argument(help="Name of the project.", show_default=False)]
ProjectFile = Annotated[Path, typer.Argument(help="A MiningProject in YAML.", show_default=False)]


def settings(home: Path | None, **changes: Any) -> Settings:
    """The environment's settings with the command's own on top; None leaves a setting alone."""
    read = Settings.from_environment()
    if home is not None:
        changes["home"] = home.expanduser().absolute()
    return dataclasses.replace(read, **{k: v for k, v in changes.items() if v is not None})


@contextlib.contextmanager
def opened(home: Path | None) -> Iterator[tuple[Engine, Settings]]:
    """The installation's database for a short command."""
    chosen = settings(home)
    with open_database(chosen) as database:
        yield database.engine, chosen


def traced() -> None:
    """Trace this command if the environment says so; what there is to say of it goes to stderr."""
    telemetry.configure_logging()
    tracing.configure("data-miner")


def print_json(value: Any) -> None:
    """One JSON document on one line."""
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """A dataclass as plain data; anything else as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value
