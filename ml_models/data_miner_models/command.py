"""`data-miner models`: which models a project can name, and whether their files are right."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from data_miner_models.cards import ModelCard, list_cards, load_card, verify
from data_miner_models.errors import ModelError
from data_miner_models.providers import PROVIDERS, Provider

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
_Provider = Annotated[str, typer.Option(help=f"{', '.join(PROVIDERS[:-1])} or {PROVIDERS[-1]}.")]


def _stores(home: Path) -> list[Path]:
    named = os.environ.get("DATA_MINER_MODELS_DIRS", "").split(":")
    return [*(Path(p).expanduser() for p in named if p), home.expanduser() / "models"]


def first_store(home: Path) -> Path:
    """Where models are put that were asked for without saying where."""
    return _stores(home)[0]


for _point in entry_points(group="data_miner.model_commands"):
    app.command(_point.name)(_point.load())


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
    run: Annotated[
        bool, typer.Option(help="Let each model say again what it said at its export.")
    ] = True,
    provider: _Provider = "cpu",
    as_json: _AsJson = False,
) -> None:
    """Check every file's hash and what the model says; exit code 6 when something is wrong.

    A model without golden values is held against what it says on a CPU.
    """
    stores, asked = _stores(home), _known_provider(provider)
    checked: list[dict[str, object]] = []
    wrong = 0
    for name in names or [card.name for card in list_cards(stores)]:
        try:
            card = load_card(name, stores)
            verify(card, again=True)
            said = _run_again(card, asked, home) if run else ()
        except ModelError as error:
            wrong += 1
            checked.append({"name": name, "error": str(error)})
            sys.stderr.write(f"error: {error}\n")
        else:
            checked.append({"name": name, "digest": card.digest, "error": None})
            if not as_json:
                files = "1 file" if len(card.files) == 1 else f"{len(card.files)} files"
                also = f"; {', '.join(said)}" if said else ""
                typer.echo(f"{card.name}: {files} as the card says{also}, {card.digest[:16]}")
    if as_json:
        sys.stdout.write(json.dumps(checked) + "\n")
    if wrong:
        raise typer.Exit(EXIT_MODEL)


def _run_again(card: ModelCard, provider: Provider, home: Path) -> tuple[str, ...]:
    from data_miner_models.golden import verify_golden  # noqa: PLC0415  # brings ONNX Runtime

    return verify_golden(card, provider, engines=_engines(home))


def _known_provider(provider: str) -> Provider:
    if provider not in PROVIDERS:
        sys.stderr.write(f"error: --provider {provider}: expected {', '.join(PROVIDERS)}\n")
        raise typer.Exit(2)
    return cast(Provider, provider)


def _engines(home: Path) -> Path:
    """As the workers of this installation have it."""
    return home.expanduser() / "engines"


@app.command("bench")
def bench_models(
    names: Annotated[list[str], typer.Argument(help="Models.")],
    home: _Home = _HOME,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of one operator.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Pictures at once, on a CPU.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of each of five rounds.")] = 1.0,
    provider: _Provider = "auto",
    as_json: _AsJson = False,
) -> None:
    """Pictures a second, and the share of this machine's matrix-multiply peak."""
    from data_miner_models import bench  # noqa: PLC0415  # brings ONNX Runtime

    asked = _known_provider(provider)
    rows: list[dict[str, object]] = []
    for name in names:
        with or_exit():
            peak, speeds = bench.measure(
                load_card(name, _stores(home)),
                provider=asked,
                threads=threads,
                batch=batch,
                seconds=seconds,
                engines=_engines(home),
            )
        for speed in speeds:
            rows.append({"name": name, "peak_flops": peak, **asdict(speed)})
            share = f", {speed.share:.2f} of {peak / 1e9:.0f} GFLOP/s" if speed.share else ""
            if not as_json:
                typer.echo(
                    f"{name} {speed.role} on {speed.provider} ({speed.precision} precision), "
                    f"{speed.batch} at once: "
                    f"{speed.per_second:.1f} a second{share}"
                )
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")


@app.command("check")
def check_file(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX file of your own.")],
    kind: Annotated[str, typer.Option("--as", help="image-encoder, text-encoder or detector.")],
) -> None:
    """Say what is wrong with an ONNX file, or print its lines of a card; exit code 6 if wrong."""
    from data_miner_models import conformance  # noqa: PLC0415  # brings ONNX Runtime

    kinds = get_args(conformance.Kind)
    if kind not in kinds:
        sys.stderr.write(f"error: --as {kind}: expected {', '.join(kinds)}\n")
        raise typer.Exit(2)
    with or_exit():
        report = conformance.check(path, cast(conformance.Kind, kind))
    for problem in report.problems:
        sys.stderr.write(f"error: {path.name}: {problem}\n")
    if report.problems:
        raise typer.Exit(EXIT_MODEL)
    facts = ", ".join(f"{name} {value}" for name, value in report.facts.items())
    typer.echo(f"# {path.name} can be a model here as {kind}: {facts}\n{report.card}")


@app.command("pull")
def pull_models(
    names: Annotated[list[str], typer.Argument(help="Models of the store.")],
    source: Annotated[
        str, typer.Option("--from", help="Store: a folder or a URI.", show_default=False)
    ],
    home: _Home = _HOME,
) -> None:
    """Bring models from a store onto this machine; what is there is not brought again."""
    from data_miner_models.store import pull  # noqa: PLC0415  # brings fsspec

    into = first_store(home)
    for name in names:
        with or_exit(), progress_lines() as progress:
            card = pull(name, source, into, progress)
        typer.echo(f"{card.name}: in {into}, {card.digest[:16]}")


@contextlib.contextmanager
def or_exit() -> Iterator[None]:
    """What is wrong with a model or a disk is one line and exit code 6."""
    try:
        yield
    except (ModelError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(EXIT_MODEL) from None


@contextlib.contextmanager
def progress_lines() -> Iterator[Callable[[str, int, int], None]]:
    """Bars on a terminal, nothing otherwise: the lines after them say what came of it."""
    from rich.console import Console  # noqa: PLC0415  # only where there is something to draw
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(
        *columns, TransferSpeedColumn(), console=console, disable=not console.is_terminal
    ) as bars:
        known: dict[str, TaskID] = {}

        def moved(path: str, done: int, whole: int) -> None:
            if path not in known:
                known[path] = bars.add_task(Path(path).name, total=whole)
            bars.update(known[path], completed=done)

        yield moved


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
