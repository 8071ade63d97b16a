"""Fixtures that every test may ask for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from data_miner.postgres.folders import ROOTS
from data_miner.postgres.place import OWNER

pytest_plugins = ["support.database", "support.queue"]


@pytest.fixture(scope="session", autouse=True)
def homes_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A database that root starts lies outside of its home: 50 MB that nobody would remove."""
    yield
    mine = f"{tmp_path_factory.getbasetemp()}/"
    for owner in [file for root in ROOTS for file in root.glob(f"home-*/{OWNER}")]:
        if owner.read_text(encoding="utf-8").startswith(mine):
            shutil.rmtree(owner.parent)
