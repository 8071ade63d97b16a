"""What the operator knows of models, whatever becomes of the store that has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_miner.model_stores import ModelStores
from data_miner.models import ModelStoreError
from data_miner_models.cards import BUNDLED
from data_miner_operator import model_facts
from data_miner_operator.model_facts import AWAY_SECONDS, KEPT_SECONDS, KEPT_THERE_SECONDS, Models
from support.media_server import MediaServer

CARD = "/models/far.toml"


class Shelf:
    """A store behind a web server, the operator's view of it, and its clock."""

    def __init__(self, server: MediaServer, *folders: Path) -> None:
        self.server = server
        self.now = 0.0
        self.models = Models(
            ModelStores(folders, uri=server.url("/models")), clock=lambda: self.now
        )

    def put(self) -> None:
        """Publish the model `far`, which is a bundled one under another name."""
        for path in (BUNDLED / "tiny").iterdir():
            self.server.add(f"/models/tiny/{path.name}", path.read_bytes())
        card = (BUNDLED / "tiny-siglip.toml").read_text().replace('"tiny-siglip"', '"far"')
        self.server.add(CARD, card.encode())

    async def known(self, name: str = "far") -> bool:
        """Whether it is there, as far as the operator can tell."""
        return (await self.models.find(name))[0] is not None

    def asked(self) -> float:
        """How often the card was read."""
        return self.server.pages[CARD].times_sent


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    """A store with one model, which a busy machine may take long to ask."""
    monkeypatch.setattr(model_facts, "PATIENCE_SECONDS", 60.0)
    with MediaServer() as server:
        made = Shelf(server, tmp_path)
        made.put()
        yield made
        made.models.close()


def test_an_answer_is_kept_for_a_moment(shelf: Shelf) -> None:
    """One that a model is there for longer than one that it is not: that may end at any time."""

    async def ask() -> None:
        assert await shelf.known()
        shelf.now += KEPT_THERE_SECONDS - 1
        assert await shelf.known()
        assert shelf.asked() == 1
        shelf.now += 2
        del shelf.server.pages["/models/tiny/image.onnx"]
        assert not await shelf.known()
        shelf.put()
        shelf.now += KEPT_SECONDS + 1
        assert await shelf.known()

    asyncio.run(ask())


def test_many_who_ask_at_once_are_one_question(shelf: Shelf) -> None:
    """The store is asked for a card once."""

    async def ask() -> None:
        with shelf.server.hold(CARD) as page:
            asking = [asyncio.create_task(shelf.known()) for _ in range(20)]
            await asyncio.to_thread(page.asked.wait, 60)
            page.open.set()
            assert await asyncio.gather(*asking) == [True] * 20
        assert shelf.asked() == 1

    asyncio.run(ask())


def test_what_was_there_is_there_while_the_store_is_away(shelf: Shelf) -> None:
    """And what was never asked for is not said to be missing: nobody knows."""

    async def ask() -> None:
        assert await shelf.known()
        shelf.server.pages[CARD].status = 503
        shelf.now += KEPT_THERE_SECONDS + 1
        assert await shelf.known()
        with pytest.raises(ModelStoreError, match="cannot read the card of far"):
            await Models(ModelStores(uri=shelf.server.url("/models"))).find("far")

    asyncio.run(ask())


def test_a_store_that_does_not_answer_holds_nobody_up(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question is given up after its patience and not asked by others; a late answer counts."""
    monkeypatch.setattr(model_facts, "PATIENCE_SECONDS", 0.1)

    async def ask() -> None:
        with shelf.server.hold(CARD) as page:
            with pytest.raises(ModelStoreError, match="does not answer"):
                await shelf.known()
            with pytest.raises(ModelStoreError, match="does not answer"):
                await shelf.known("near")
            assert await shelf.known("tiny-dino")
            page.open.set()
            (late,) = shelf.models._asking.values()
            await late
        assert await shelf.known()
        assert shelf.asked() == 1

    asyncio.run(ask())


def test_a_store_that_is_away_is_asked_again_after_a_while(shelf: Shelf) -> None:
    """Not by everybody at once."""

    async def ask() -> None:
        page = shelf.server.pages[CARD]
        page.status = 503
        for _ in range(3):
            with pytest.raises(ModelStoreError):
                await shelf.known()
        tries = shelf.asked()
        assert tries <= 1
        page.status = 200
        with pytest.raises(ModelStoreError):
            await shelf.known()
        shelf.now += AWAY_SECONDS + 1
        assert await shelf.known()

    asyncio.run(ask())


def test_a_model_of_a_folder_needs_no_store(shelf: Shelf, tmp_path: Path) -> None:
    """Also one that comes there later."""

    async def ask() -> None:
        shelf.server.add("/models/near.toml", b"", status=503)
        assert await shelf.known("tiny-siglip")
        with pytest.raises(ModelStoreError):
            await shelf.known("near")
        (tmp_path / "tiny").mkdir()
        for path in (BUNDLED / "tiny").iterdir():
            (tmp_path / "tiny" / path.name).write_bytes(path.read_bytes())
        card = (BUNDLED / "tiny-siglip.toml").read_text().replace('"tiny-siglip"', '"near"')
        (tmp_path / "near.toml").write_text(card)
        assert await shelf.known("near")

    asyncio.run(ask())
