"""Where the commands of the documents run."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.documents import checkout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What somebody sees who has cloned the repository; it may be written to."""
    return checkout(tmp_path_factory.mktemp("reader") / "data-miner")
