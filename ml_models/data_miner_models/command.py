"""`data-miner models`: which models a project can name, and whether their files are right."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from data_miner_models.cards import ModelCard, card_names, load_card, verify
from data_miner_models.errors import (
    DamagedError,
    GoneError,
    ModelError,
    NoRoomError,
    PassingError,
    StoreError,
)
from data_miner_models.providers import PROVIDERS, Provider

if TYPE_CHECKING:
    from data_miner_models.listing import Listed

EXIT_STORAGE = 5
EXIT_MODEL = 6
EXIT_AGAIN = 8

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


@dataclass(frozen=True, slots=True)
class _Stores:
    """As the settings of a worker here have them."""

    folders: tuple[Path, ...]
    uri: str
    cache: Path
    cache_bytes: int


def _stores(home: Path) -> _Stores:
    def said(name: str) -> str:
        return os.environ.get(f"DATA_MINER_MODELS_{name}", "")

    named = [Path(path).expanduser() for path in said("DIRS").split(":") if path]
    try:
        gigabytes = float(said("CACHE_GB") or 20)
        if not math.isfinite(gigabytes):
            raise ValueError
    except ValueError:
        sys.stderr.write(
            f"error: DATA_MINER_MODELS_CACHE_GB={said('CACHE_GB')!r}: expected a number\n"
        )
        raise typer.Exit(2) from None
    return _Stores(
        folders=(*named, home.expanduser() / "models"),
        uri=said("URI").rstrip("/"),
        cache=Path(said("CACHE_DIR") or home / "model-cache").expanduser(),
        cache_bytes=int(gigabytes * 1e9),
    )


def first_store(home: Path) -> Path:
    """Where models are put that were asked for without saying where."""
    return _stores(home).folders[0]


for _point in entry_points(group="data_miner.model_commands"):
    app.command(_point.name)(_point.load())


@app.command("list")
def list_models(home: _Home = _HOME, as_json: _AsJson = False) -> None:
    """The models of this installation, the bundled ones and those at DATA_MINER_MODELS_URI, of
    which only the cards are read; width is that of their vectors."""
    from data_miner_models.listing import list_models as every  # noqa: PLC0415  # brings fsspec

    stores = _stores(home)
    problems: list[ModelError] = []
    with or_exit():
        listed = list(every(stores, problems.append))
    if as_json:
        sys.stdout.write(json.dumps([_row(one) for one in listed]) + "\n")
    else:
        _show(listed, with_place=bool(stores.uri))
    for problem in problems:
        sys.stderr.write(f"error: {problem}\n")
    if problems:
        raise typer.Exit(EXIT_MODEL)


def _show(listed: Sequence[Listed], *, with_place: bool) -> None:
    def line(name: str, family: str, width: object, size: str, place: str, summary: str) -> str:
        where = f"  {place:13}" if with_place else ""
        return f"{name:24} {family:16} {width:>5}  {size:>11}{where}  {summary}".rstrip()

    if listed:
        typer.echo(line("model", "family", "width", "size", "where", ""))
    for one in listed:
        card = one.card
        size = f"{sum(file.bytes for file in card.files.values()) / 1e6:.1f} MB"
        place = "store, cached" if one.place == "store" and one.cached else one.place
        typer.echo(line(card.name, card.family, card.dimension, size, place, card.summary))
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

    A model without golden values is held against what it says on a CPU. Of the models at
    DATA_MINER_MODELS_URI those are checked that are in the cache, and one that is named is brought.
    """
    stores, asked = _stores(home), _known_provider(provider)
    checked: list[dict[str, object]] = []
    wrong = 0
    for name, find in _finders(names or [], stores):
        try:
            card = find()
            if card is None:
                continue  # removed since it was listed
            verify(card, again=True)
            said = _run_again(card, asked, home) if run else ()
        except (ModelError, OSError) as error:
            wrong += 1
            again = "; it is brought again" if _let_go(error) else ""
            checked.append({"name": name, "error": f"{error}{again}"})
            sys.stderr.write(f"error: {error}{again}\n")
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


def _finders(
    names: Sequence[str], stores: _Stores
) -> Iterator[tuple[str, Callable[[], ModelCard | None]]]:
    """How to come to each of these models; without names, to all whose files are here."""
    if names:
        yield from ((name, partial(_bring, name, stores)) for name in names)
        return
    from data_miner_models.cache import ModelCache  # noqa: PLC0415  # brings fsspec
    from data_miner_models.listing import cached_models  # noqa: PLC0415

    for name in card_names(stores.folders):
        yield name, partial(load_card, name, stores.folders)
    cache = ModelCache(stores.cache, stores.cache_bytes)
    for name, digest in cached_models(stores):
        # Found only then: it must not be removed while it is checked, and not kept for longer.
        yield name, partial(cache.find, name, digest)


def _bring(name: str, stores: _Stores) -> ModelCard:
    from data_miner_models.listing import bring_card  # noqa: PLC0415  # brings fsspec

    with progress_lines() as progress:
        return bring_card(name, stores, progress)


def _let_go(error: Exception) -> bool:
    """Whether a damaged file was one of the cache's, and has been removed."""
    from data_miner_models.cache import let_go  # noqa: PLC0415  # brings fsspec

    return isinstance(error, DamagedError) and let_go(error)


def _run_again(card: ModelCard, provider: Provider, home: Path) -> tuple[str, ...]:
    from data_miner_models.golden import verify_golden  # noqa: PLC0415  # brings ONNX Runtime

    try:
        return verify_golden(card, provider, engines=_engines(home))
    except ValueError as error:
        # As boxes that are no numbers, which a task fails with as well.
        raise ModelError(f"model {card.name}: {error}") from error


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
                _bring(name, _stores(home)),
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
        str,
        typer.Option(
            "--from",
            help="Store: a folder or a URI.",
            envvar="DATA_MINER_MODELS_URI",
            show_default=False,
        ),
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
    """What is wrong is one line; the exit code says whether the same may go well in a minute."""
    try:
        yield
    except (ModelError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        raise typer.Exit(_exit_code(error)) from None


def _exit_code(error: Exception) -> int:
    if isinstance(error, PassingError) and not isinstance(error, GoneError):
        return EXIT_AGAIN
    if isinstance(error, (StoreError, NoRoomError, OSError)):
        return EXIT_STORAGE
    return EXIT_MODEL


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


def _row(one: Listed) -> dict[str, object]:
    card = one.card
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
        "place": one.place,
        "cached": one.cached,
    }
