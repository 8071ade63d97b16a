"""Stages whose models lie in a store at a URI, and come to this machine when they are needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from data_miner.settings import Settings
from data_miner.stage import StageError, StopRequested
from data_miner_models import store
from data_miner_models.cache import ModelCache
from data_miner_models.cards import load_card
from data_miner_worker.loaded_models import MODELS, find_card
from support.disk import grow, small_disk
from support.media_server import MediaServer
from support.project_bench import Bench, Frame, plain

RED = plain(230, 0, 0)


@pytest.fixture(autouse=True)
def nothing_is_loaded() -> None:
    """What other tests have loaded would need no file."""
    MODELS.forget()


def at(bench: Bench, uri: str, gigabytes: float = 1.0) -> Path:
    """Have the bench find its models at the URI alone; returns the folder of the cache."""
    bench.settings = Settings(
        home=bench.folder / "elsewhere", models_uri=uri, models_cache_gb=gigabytes
    )
    return bench.settings.model_stores.cache


@pytest.fixture
def server(bench: Bench) -> Iterator[MediaServer]:
    """A web server with the bench's models."""
    with MediaServer() as made:
        for path in bench.models.iterdir():
            made.add(f"/models/{path.name}", path.read_bytes())
        at(bench, made.url("/models"))
        yield made


def embed(bench: Bench) -> None:
    """Run a stage that needs the model `colour`."""
    bench.run("embed", "v", {"extract": [bench.extract("v", [RED], wave=1)]})


def failure(bench: Bench) -> StageError:
    """What the same stage fails with."""
    with pytest.raises(StageError) as caught:
        embed(bench)
    return caught.value


def test_a_project_is_mined_with_models_of_a_bucket(
    bench: Bench, videos: dict[str, list[Frame]], bucket: str
) -> None:
    """From frames to a version; each model is in the cache afterwards, and none was here before."""
    client = boto3.client("s3")
    for path in bench.models.iterdir():
        client.upload_file(str(path), bucket, f"shared/models/{path.name}")
    cache = at(bench, f"s3://{bucket}/shared/models/")

    done = bench.mine(videos)

    assert done.facts["frames"] > 0
    held = ModelCache(cache, 0).models()
    assert [(one.name, one.whole) for one in held] == [
        ("alike", True), ("boxer", True), ("colour", True),
    ]  # fmt: skip


def test_a_model_is_brought_once_and_said_to_be(bench: Bench, server: MediaServer) -> None:
    """The second task finds it here, even with the store away."""
    said: list[Any] = []
    context = bench.context("embed", "v", {})
    context._send = said.append
    card = load_card("colour", [bench.models])

    assert find_card(context, "colour", card.digest).digest == card.digest

    for page in server.pages.values():
        page.status = 500
    embed(bench)
    assert server.pages["/models/colour.onnx"].times_sent == 1
    assert said[0].message.startswith("model colour: 0 of 0 MB here")


def test_a_store_that_does_not_answer_puts_a_task_off(bench: Bench) -> None:
    """Under the name of a store that is away, so that no attempt is used up."""
    with MediaServer() as gone:
        at(bench, gone.url("/models"))

    found = failure(bench)

    assert (found.error_class, found.permanent) == ("store_unreachable", False)
    assert str(found).startswith("bring model colour from http://127.0.0.1:")
    assert str(found).endswith("; the task runs again")


def test_a_folder_that_is_not_mounted_puts_a_task_off(bench: Bench) -> None:
    """It is a store that is away, and not one without the model."""
    at(bench, str(bench.folder / "nfs"))
    found = failure(bench)
    assert (found.error_class, found.permanent) == ("store_unreachable", False)


def test_a_store_that_refuses_is_a_failure_that_may_pass(bench: Bench, server: MediaServer) -> None:
    """It is tried again as often as any other."""
    server.pages["/models/colour.toml"].status = 403
    found = failure(bench)
    assert (found.error_class, found.permanent) == ("storage", False)


def test_a_model_that_the_store_lacks_is_said_at_once(bench: Bench, server: MediaServer) -> None:
    """Another try would find the same."""
    del server.pages["/models/colour.toml"]
    found = failure(bench)
    assert (found.error_class, found.permanent) == ("model_unusable", True)
    assert "has no model 'colour'" in str(found)


def test_another_state_at_the_store_is_not_taken_for_the_recipes(
    bench: Bench, server: MediaServer
) -> None:
    """Unless the cache still has the one that the project was made for."""
    embed(bench)
    card = bench.models / "colour.toml"
    changed = card.read_text().replace("scale = 10.0", "scale = 11.0").encode()
    server.add("/models/colour.toml", changed)
    embed(bench)
    at(bench, server.url("/models"))
    bench.settings = replace(bench.settings, models_cache_dir=str(bench.folder / "empty"))
    found = failure(bench)
    assert (found.error_class, found.permanent) == ("model_changed", True)
    assert "the one in http://127.0.0.1:" in str(found)


def test_a_model_of_a_folder_goes_before_the_store(bench: Bench, server: MediaServer) -> None:
    """Also where a folder has another state of it than the recipe names: the store has that."""
    own = bench.folder / "own"
    own.mkdir()
    for path in bench.models.iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    bench.settings = replace(bench.settings, models_dirs=str(own))
    embed(bench)
    assert server.pages["/models/colour.toml"].times_sent == 0
    text = (own / "colour.toml").read_text()
    (own / "colour.toml").write_text(text.replace("scale = 10.0", "scale = 11.0"))
    embed(bench)
    assert server.pages["/models/colour.onnx"].times_sent == 1


def test_another_state_in_a_folder_is_said_where_the_store_has_none(
    bench: Bench, server: MediaServer
) -> None:
    """To apply again is what helps, as without a store."""
    own = bench.folder / "own"
    own.mkdir()
    for path in bench.models.iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    text = (own / "colour.toml").read_text()
    (own / "colour.toml").write_text(text.replace("scale = 10.0", "scale = 11.0"))
    bench.settings = replace(bench.settings, models_dirs=str(own))
    del server.pages["/models/colour.toml"]
    found = failure(bench)
    assert (found.error_class, found.permanent) == ("model_changed", True)
    assert f"the one in {own} has digest" in str(found)


@pytest.mark.parametrize("file", ["colour.onnx", "words.json"])
def test_a_file_that_was_damaged_in_the_cache_is_brought_again(
    bench: Bench, server: MediaServer, file: str
) -> None:
    """It is never loaded; the next attempt has it anew."""
    embed(bench)
    MODELS.forget()
    (path,) = bench.settings.model_stores.cache.glob(f"colour@*/{file}")
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    inputs = {"extract": bench.facts["extract"], "embed": bench.facts["embed"]}
    stage = "embed" if file == "colour.onnx" else "filter"

    with pytest.raises(StageError) as caught:
        bench.run(stage, "v", inputs)

    assert (caught.value.error_class, caught.value.permanent) == ("model_damaged", False)
    bench.run(stage, "v", inputs)
    assert path.read_bytes() == content
    assert server.pages[f"/models/{file}"].times_sent == 2


def test_what_this_process_holds_from_earlier_tasks_makes_room(
    bench: Bench, videos: dict[str, list[Frame]], server: MediaServer
) -> None:
    """Each model fits alone: the project is mined, with one in the cache at a time."""
    sizes = [
        sum(file.bytes for file in load_card(name, [bench.models]).files.values())
        for name in ("colour", "alike", "boxer")
    ]
    cache = at(bench, server.url("/models"), gigabytes=(max(sizes) + 1500) / 1e9)
    assert bench.mine(videos).facts["frames"] > 0
    assert len(ModelCache(cache, 0).models()) == 1


def test_no_room_because_others_are_in_use_puts_a_task_off(
    bench: Bench, server: MediaServer
) -> None:
    """It says which they are; as soon as there is room, the task is done."""
    sizes = [
        sum(file.bytes for file in load_card(name, [bench.models]).files.values())
        for name in ("colour", "alike")
    ]
    cache = at(bench, server.url("/models"), gigabytes=(max(sizes) + 1500) / 1e9)
    card, text = store.card_at("alike", server.url("/models"))
    used = ModelCache(cache, 10**9).bring(
        card, text, server.url("/models"), lambda *_: None, lambda: None
    )

    found = failure(bench)

    assert (found.error_class, found.permanent) == ("disk_full", False)
    assert "in use are alike" in str(found)
    del used
    embed(bench)


def test_a_disk_that_is_full_puts_a_task_off(bench: Bench, server: MediaServer) -> None:
    """As anywhere else; with room, what was begun goes on."""
    folder = bench.folder / "small"
    with small_disk(folder, kilobytes=4) as mounted:
        if not mounted:
            return  # who may not mount a disk has none that is full
        bench.settings = replace(bench.settings, models_cache_dir=str(folder))
        found = failure(bench)
        assert (found.error_class, found.permanent) == ("disk_full", False)
        grow(folder, kilobytes=10_000)
        embed(bench)


def test_a_model_that_can_never_be_here_is_said_at_once(bench: Bench, server: MediaServer) -> None:
    """With the setting that bounds the cache."""
    at(bench, server.url("/models"), gigabytes=1e-6)
    found = failure(bench)
    assert (found.error_class, found.permanent) == ("model_unusable", True)
    assert "DATA_MINER_MODELS_CACHE_GB" in str(found)


def test_a_stop_ends_a_pull(bench: Bench, server: MediaServer) -> None:
    """A worker that stops does not bring a model to its end first."""
    with server.hold("/models/colour.onnx") as page:

        def stop() -> None:
            page.asked.wait(60)
            bench.stop.set()
            page.open.set()

        threading.Thread(target=stop).start()
        with pytest.raises(StopRequested):
            embed(bench)
    assert [one.whole for one in ModelCache(bench.settings.model_stores.cache, 0).models()] == [
        False
    ]
