"""`data-miner models`: which models a project can name, and whether their files are right."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from data_miner_models.cards import ModelCard, list_cards, load_card, verify
from data_miner_models.errors import ModelError

EXIT_MODEL = 6

app = typer.Typer(help="Models that projects can name.", no_args_is_help=True)
_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]
_Home = Annotated[
    Path,
    typer.Option(
        "--home",
        help="Folder of the installation: database, store, datasets, logs.",
        envvar="DATA_MINER_HOME",
    ),
]
_HOME = Path("~/.data-miner")


def _stores(home: Path) -> list[Path]:
    named = os.environ.get("DATA_MINER_MODELS_DIRS", "").split(":")
    return [*(Path(p).expanduser() for p in named if p), home.expanduser() / "models"]


@app.command("list")
def list_models(home: _Home = _HOME, as_json: _AsJson = False) -> None:
    """The models of this installation and the bundled ones; width is that of their vectors."""
    cards = list_cards(_stores(home))
    if as_json:
        sys.stdout.write(json.dumps([_row(card) for card in cards]) + "\n")
        return
    if cards:
        typer.echo(f"{'model':24} {'family':16} {'width':>5}  {'size':>11}")
    for card in cards:
        size = sum(file.bytes for file in card.files.values()) / 1e6
        typer.echo(
            f"{card.name:24} {card.family:16} {card.dimension:5}  {size:8.1f} MB  {card.summary}"
        )
        if card.warning:
            typer.echo(f"{'':24} {card.warning}")


@app.command("verify")
def verify_models(
    names: Annotated[list[str] | None, typer.Argument(help="Models; all when none.")] = None,
    home: _Home = _HOME,
    as_json: _AsJson = False,
) -> None:
    """Check size and sha256 of every file; exit code 6 when one is wrong."""
    stores = _stores(home)
    checked: list[dict[str, object]] = []
    wrong = 0
    for name in names or [card.name for card in list_cards(stores)]:
        try:
            card = load_card(name, stores)
            verify(card)
        except ModelError as error:
            wrong += 1
            checked.append({"name": name, "error": str(error)})
            sys.stderr.write(f"error: {error}\n")
        else:
            checked.append({"name": name, "digest": card.digest, "error": None})
            if not as_json:
                files = "1 file" if len(card.files) == 1 else f"{len(card.files)} files"
                typer.echo(f"{card.name}: {files} as the card says, {card.digest[:16]}")
    if as_json:
        sys.stdout.write(json.dumps(checked) + "\n")
    if wrong:
        raise typer.Exit(EXIT_MODEL)


def _row(card: ModelCard) -> dict[str, object]:
    return {
        "name": card.name,
        "family": card.family,
        "digest": card.digest,
        "licence": card.licence,
        "summary": card.summary,
        "warning": card.warning,
        "preprocessing": card.preprocessing.key,
        "dimension": card.dimension,
        "bytes": sum(file.bytes for file in card.files.values()),
    }
