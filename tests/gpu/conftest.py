"""What only a GPU can show: `make test-gpu`, on a machine that has one."""

from __future__ import annotations

import pytest

from data_miner_models.cards import load_card
from data_miner_models.errors import ModelError
from data_miner_models.runtime import open_session


def pytest_sessionstart() -> None:
    """Nothing is skipped here: who asks for these tests means them."""
    try:
        open_session(load_card("tiny-dino"), "image", provider="cuda")
    except ModelError as error:
        pytest.exit(f"the tests of GPUs need one: {error}", returncode=2)
