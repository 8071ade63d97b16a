"""Runs the SQL of one version."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from alembic import op

FOLDER = Path(__file__).parent / "sql"


def run(version: str, direction: Literal["up", "down"]) -> None:
    """Execute the files of `sql/<version>/` in the order of their names, as they are written.

    `down.sql` is the way down, every other file is the way up.
    """
    files = sorted((FOLDER / version).glob("*.sql"))
    bind = op.get_bind().execution_options(no_parameters=True)
    for file in files:
        if (file.name == "down.sql") == (direction == "down"):
            bind.exec_driver_sql(file.read_text(encoding="utf-8"))
