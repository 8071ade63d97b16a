"""`data-miner models export`: a checkpoint of Hugging Face becomes a model of a store."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

EXIT_MODEL = 6
_NEEDS = ("torch", "transformers", "onnx", "onnxscript")


def export(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ID|FOLDER|NAME",
            help="A checkpoint of the hub by id, one in a folder, or a name such as dinov2-small.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            help="Store to publish to: a folder or a URI; absent is the first of "
            "DATA_MINER_MODELS_DIRS, or the installation's own.",
            show_default=False,
        ),
    ] = "",
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the model; absent is the last part of the id."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit of the hub.")
    ] = None,
    fp16: Annotated[bool, typer.Option(help="Half precision too, which GPUs then run.")] = True,
    int8: Annotated[
        bool, typer.Option("--int8", help="A second model, NAME-int8, in 8 bits for CPUs.")
    ] = False,
    accept_licence: Annotated[
        list[str] | None,
        typer.Option("--accept-licence", help="A licence that you agree to; may be repeated."),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option("--work", help="Folder for downloads and what is begun; it is gone on with."),
    ] = None,
    home: Annotated[
        Path,
        typer.Option("--home", help="Folder of the installation.", envvar="DATA_MINER_HOME"),
    ] = Path("~/.data-miner"),
) -> None:
    """Export a model to ONNX, prove that its numbers stayed, and publish it; exit code 6 if not.

    HF_TOKEN lets gated checkpoints be read, HF_ENDPOINT names another hub.
    """
    _require()
    from data_miner_export.make import Wanted, make  # noqa: PLC0415  # brings torch
    from data_miner_export.source import find  # noqa: PLC0415
    from data_miner_models.cards import check_name  # noqa: PLC0415
    from data_miner_models.command import first_store, or_exit, progress_lines  # noqa: PLC0415
    from data_miner_models.store import shown  # noqa: PLC0415  # brings fsspec

    folder = (work or Path(tempfile.gettempdir()) / "data-miner-export").expanduser()
    precisions = {"fp32"} | ({"fp16"} if fp16 else set()) | ({"int8"} if int8 else set())
    chosen = name or what.rstrip("/").rpartition("/")[2].lower()
    uri = out or str(first_store(home))
    with or_exit():
        check_name(chosen)
        source = find(what, revision=revision, cache=folder / "hub", accepted=accept_licence or ())
        wanted = Wanted(chosen, frozenset(precisions), uri, folder / "work")  # type: ignore[arg-type]
        with progress_lines() as progress:
            cards = make(source, wanted, _say, progress)
    for card in cards:
        typer.echo(f"{card.name}: published to {shown(uri)}, {card.digest[:16]}")


def _say(words: str) -> None:
    typer.echo(words)


def _require() -> None:
    """Say what is missing instead of failing at an import."""
    from importlib.util import find_spec  # noqa: PLC0415

    missing = [package for package in _NEEDS if find_spec(package) is None]
    if missing:
        sys.stderr.write(
            f"error: exporting needs {', '.join(missing)}; install data-miner[export], or use the "
            "image data-miner-export\n"
        )
        raise typer.Exit(EXIT_MODEL)
