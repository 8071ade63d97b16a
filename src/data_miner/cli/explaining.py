"""`explain`: the story of one image."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from data_miner.catalog.explain import explain as explain_image
from data_miner.cli import options
from data_miner.storage import open_store


def explain(
    image: Annotated[
        str,
        typer.Argument(
            help="An image of a dataset, or a frame that was left out: the file or its name.",
            show_default=False,
        ),
    ],
    home: options.Home = None,
    as_json: options.AsJson = False,
) -> None:
    """Where an image comes from, why it was kept, and what else it stands for."""
    with options.opened(home) as (engine, settings), tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        store = open_store(settings.storage, scratch=scratch)
        with engine.begin() as conn:
            found = explain_image(conn, image, lambda a: store.fetch(a, scratch).read_bytes())
    if as_json:
        options.print_json(found)
        return
    Console().print(found.text(), soft_wrap=True, highlight=False, markup=False)
