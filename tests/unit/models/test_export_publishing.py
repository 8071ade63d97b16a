"""Publishing goes on when a store gives no answer for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from data_miner_export.publishing import PAUSES_S, publish_patiently
from data_miner_models.cards import ModelCard, load_card, verify
from data_miner_models.errors import ModelError, PassingError, StoreError
from data_miner_models.store import pull


class Restarting(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store in memory, whose client raises what those of buckets do while there is none."""

    protocol: ClassVar[str] = "restarting"
    ends: ClassVar[list[BaseException]] = []

    def put_file(self, *args: Any, **kwargs: Any) -> None:
        if self.ends:
            raise self.ends.pop(0)
        super().put_file(*args, **kwargs)


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    """Of a store that is away as often as a test says."""
    fsspec.register_implementation("restarting", Restarting, clobber=True)
    yield f"restarting://{tmp_path.name}"
    Restarting.ends = []


def _publish(store: Path, uri: str, said: list[str]) -> ModelCard:
    card = load_card("small", [store])
    files = {"image": card.path("image")}
    return publish_patiently(card, files, uri, lambda *_: None, said.append, (0.01, 0.02))


def test_a_store_that_restarts_gets_the_model_when_it_is_back(
    small_store: Path, tmp_path: Path, uri: str
) -> None:
    """It is said why that takes longer."""
    Restarting.ends = [ConnectionRefusedError("nobody listens"), TimeoutError("slow")]
    said: list[str] = []
    _publish(small_store, uri, said)
    verify(pull("small", uri, tmp_path / "mine"))
    assert [line.rpartition("; ")[2] for line in said] == [
        "trying again in 0.01 s",
        "trying again in 0.02 s",
    ]
    assert "cannot publish small to restarting://" in said[0]
    assert "nobody listens" in said[0]


def test_a_store_that_stays_away_has_not_refused_the_model(small_store: Path, uri: str) -> None:
    """Minutes are waited for it before that is said."""
    Restarting.ends = [ConnectionResetError("gone") for _ in range(3)]
    with pytest.raises(PassingError, match=r"cannot publish small to restarting.*gone"):
        _publish(small_store, uri, [])
    assert not Restarting.ends
    assert sum(PAUSES_S) > 60


def test_a_store_that_refuses_is_asked_once(small_store: Path, uri: str) -> None:
    """It will say the same in a minute."""
    Restarting.ends = [PermissionError(13, "denied"), ConnectionResetError("gone")]
    with pytest.raises(StoreError, match="denied") as refused:
        _publish(small_store, uri, [])
    assert not isinstance(refused.value, PassingError)
    assert isinstance(refused.value, ModelError)
    assert len(Restarting.ends) == 1
