"""What the core learns of models: from folders, and of a store at a URI from the card alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data_miner.model_stores import ModelStores
from data_miner.models import ModelNotFoundError, ModelStoreError, model_lookup
from data_miner_models import store
from data_miner_models.cards import load_card
from data_miner_models.errors import ModelError
from support.media_server import MediaServer


@pytest.fixture
def server(small_store: Path, tmp_path: Path) -> Iterator[MediaServer]:
    """A web server with the model `far`."""
    card = replace(load_card("small", [small_store]), name="far")
    there = tmp_path / "there"
    store.publish(card, {"image": card.path("image")}, str(there), lambda *_: None)
    with MediaServer() as made:
        for path in there.rglob("*.*"):
            made.add(f"/models/{path.relative_to(there)}", path.read_bytes())
        yield made


def graph(server: MediaServer) -> str:
    """Path of the model's one file."""
    return next(path for path in server.pages if path.endswith(".onnx"))


def test_of_a_model_at_a_uri_only_the_card_is_read(server: MediaServer, small_store: Path) -> None:
    """It is the same model as in a folder; its gigabytes stay where they are."""
    found = model_lookup(ModelStores(uri=server.url("/models")))("far")
    here = model_lookup(ModelStores((small_store,)))("small")
    assert (found.digest, found.preprocessing) == (here.digest, here.preprocessing)
    assert server.pages[graph(server)].times_sent == 0


def test_a_folder_and_the_bundled_models_go_before_the_uri(
    server: MediaServer, small_store: Path
) -> None:
    """What is here needs no store."""
    find = model_lookup(ModelStores((small_store,), uri=server.url("/models")))
    assert find("small").name == "small"
    assert find("tiny-siglip").name == "tiny-siglip"
    assert all(page.times_sent == 0 for page in server.pages.values())


def test_a_model_that_is_nowhere_is_said_with_those_that_are(
    small_store: Path, tmp_path: Path
) -> None:
    """In the folders, and in the store."""
    card = load_card("small", [small_store])
    there = str(tmp_path / "there")
    store.publish(replace(card, name="far"), {"image": card.path("image")}, there, lambda *_: None)
    with pytest.raises(
        ModelNotFoundError, match=r"'huge' is not known; known here: small, .*no model .* has far"
    ):
        model_lookup(ModelStores((small_store,), uri=there))("huge")


def test_a_model_whose_files_are_not_all_there_is_none(server: MediaServer) -> None:
    """A file of another size, and one that is gone."""
    lookup = model_lookup(ModelStores(uri=server.url("/models")))
    page = server.pages[graph(server)]
    page.body += b"?"
    with pytest.raises(ModelNotFoundError, match=f"has {len(page.body)} bytes, its card says"):
        lookup("far")
    del server.pages[graph(server)]
    with pytest.raises(ModelNotFoundError, match="has its card, and no file far/"):
        lookup("far")


def test_a_store_that_cannot_be_asked_says_nothing_of_a_model(server: MediaServer) -> None:
    """Nor does one that refuses; neither is an unknown model."""
    server.pages["/models/far.toml"].status = 403
    with pytest.raises(ModelStoreError, match="cannot read the card of far in http://127"):
        model_lookup(ModelStores(uri=server.url("/models")))("far")
    with pytest.raises(ModelStoreError, match="cannot read the card of far in http://u:"):
        model_lookup(ModelStores(uri="http://u:secret@127.0.0.1:9/models"))("far")


def test_a_password_in_a_uri_is_told_to_nobody() -> None:
    """Whatever is wrong."""
    with pytest.raises(ModelStoreError) as caught:
        model_lookup(ModelStores(uri="http://u:secret@127.0.0.1:9/models"))("far")
    assert "secret" not in str(caught.value)
    assert store.shown("http://u:secret@host/models") == "http://u:***@host/models"
    assert store.shown("abfs://container@account.dfs/models").startswith("abfs://container@")
    assert store.shown("s3://bucket/a:b@c") == "s3://bucket/a:b@c"


@pytest.mark.parametrize("secret", ["me:pass@word", "me:secret", "hf_a-token"])
def test_no_words_of_a_store_have_what_gives_access_to_it(
    server: MediaServer, tmp_path: Path, secret: str
) -> None:
    """Those of its client, and those about bytes that are wrong; with a token alone, too."""
    uri = server.url("/models").replace("://", f"://{secret}@")
    server.pages[graph(server)].body = b"?"
    with pytest.raises(ModelError, match="its card says") as wrong:
        store.pull("far", uri, tmp_path / "mine")
    del server.pages[graph(server)]
    with pytest.raises(ModelError, match="cannot pull far") as missing:
        store.pull("far", uri, tmp_path / "mine")
    for said in (wrong, missing):
        assert "***@127.0.0.1" in str(said.value)
        assert secret.rpartition(":")[2] not in str(said.value)
    assert store.shown(f"{uri}?X-Amz-Signature=ab12&a=b").endswith("?X-Amz-Signature=***&a=b")


def test_a_folder_that_is_not_there_says_nothing_of_a_model(tmp_path: Path) -> None:
    """It may be away; into an empty one somebody has yet to put a model, such as a Job."""
    there = tmp_path / "nfs"
    with pytest.raises(ModelStoreError, match=r"nothing is at .*nfs: is it mounted"):
        model_lookup(ModelStores(uri=str(there)))("far")
    there.mkdir()
    with pytest.raises(ModelNotFoundError, match="has no model 'far'; it has nothing"):
        model_lookup(ModelStores(uri=str(there)))("far")


def test_a_store_that_lists_nothing_is_not_said_to_have_nothing(server: MediaServer) -> None:
    """A web server need not tell what it has."""
    with pytest.raises(
        ModelNotFoundError, match="has no model 'huge'; its models cannot be listed"
    ):
        model_lookup(ModelStores(uri=server.url("/models")))("huge")


def test_a_card_that_cannot_be_read_is_a_wrong_model_and_no_store_that_is_away(
    server: MediaServer,
) -> None:
    """Another try would find the same."""
    server.pages["/models/far.toml"].body = b"\xff"
    with pytest.raises(ModelNotFoundError, match=r"model card far.toml: 'utf-8' codec"):
        model_lookup(ModelStores(uri=server.url("/models")))("far")
