"""Models at a URI: published and pulled whole, or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from data_miner_models.card_text import card_text
from data_miner_models.cards import ModelCard, ModelFile, load_card, verify
from data_miner_models.errors import ModelError
from data_miner_models.store import describe, publish, published, pull


def _nothing(*_: object) -> None:
    pass


def _published(small_store: Path, uri: str, name: str = "small") -> ModelCard:
    card = load_card("small", [small_store])
    return publish(replace(card, name=name), {"image": card.path("image")}, uri, _nothing)


def test_what_was_published_is_pulled_and_verifies(small_store: Path, tmp_path: Path) -> None:
    """The card names the same model at each place."""
    there = _published(small_store, str(tmp_path / "store"))
    seen: list[tuple[str, int, int]] = []
    here = pull("small", str(tmp_path / "store"), tmp_path / "mine", lambda *a: seen.append(a))
    assert load_card("small", [tmp_path / "mine"]) == here
    assert here.digest == there.digest == load_card("small", [small_store]).digest
    verify(here)
    assert seen[-1][1] == seen[-1][2] == here.files["image"].bytes
    assert published(str(tmp_path / "store")) == ("small",)


def test_a_store_without_folders_is_one_too(small_store: Path, tmp_path: Path) -> None:
    """Any URI that fsspec knows; here one in memory."""
    uri = f"memory://models-{tmp_path.name}"
    _published(small_store, uri)
    assert published(uri) == ("small",)
    verify(pull("small", uri, tmp_path / "mine"))


def test_another_state_of_a_model_leaves_the_files_of_the_first(
    small_store: Path, tmp_path: Path
) -> None:
    """Whoever reads the old card finds the old files."""
    store = tmp_path / "store"
    first = _published(small_store, str(store))
    graph = small_store / "small.onnx"
    graph.write_bytes(graph.read_bytes() + b"\x00")
    digest, size = describe(graph)
    changed = replace(
        load_card("small", [small_store]),
        files={"image": replace(first.files["image"], sha256=digest, bytes=size)},
    )
    second = publish(changed, {"image": graph}, str(store), _nothing)
    assert second.files["image"].path != first.files["image"].path
    for card in (first, second):
        verify(replace(card, folder=store))
    assert load_card("small", [store]).digest == second.digest


def test_other_bytes_than_the_card_says_are_never_kept(small_store: Path, tmp_path: Path) -> None:
    """It says which file and both hashes, and nothing appears."""
    store = tmp_path / "store"
    card = _published(small_store, str(store))
    path = store / card.files["image"].path
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match=card.files["image"].sha256):
        pull("small", str(store), tmp_path / "mine")
    assert [p for p in (tmp_path / "mine").rglob("*") if p.suffix in {".toml", ".onnx"}] == []


def test_an_unknown_model_is_said_with_those_that_are_there(
    small_store: Path, tmp_path: Path
) -> None:
    """And a store that is not there with what the machine says."""
    _published(small_store, str(tmp_path / "store"))
    with pytest.raises(ModelError, match="has no model 'large'; it has small"):
        pull("large", str(tmp_path / "store"), tmp_path / "mine")
    with pytest.raises(ModelError, match="cannot pull small from nowhere://x"):
        pull("small", "nowhere://x", tmp_path / "mine")


def test_what_was_begun_goes_on_where_it_stopped(
    small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the bytes that are missing are read."""
    store = tmp_path / "store"
    card = _published(small_store, str(store))
    file = card.files["image"]
    begun = tmp_path / "mine" / ".small.pulling" / file.sha256
    begun.parent.mkdir(parents=True)
    begun.write_bytes((store / file.path).read_bytes()[:1000])
    moved: list[int] = []
    system = fsspec.filesystem("file")
    opened = type(system).open

    def counting(self: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        stream = opened(self, path, *args, **kwargs)
        if path.endswith(".onnx"):
            read = stream.read

            def counted(*sizes: int) -> bytes:
                content: bytes = read(*sizes)
                moved.append(len(content))
                return content

            stream.read = counted
        return stream

    monkeypatch.setattr(type(system), "open", counting)
    verify(pull("small", str(store), tmp_path / "mine"))
    assert sum(moved) == file.bytes - 1000


def test_what_was_begun_with_other_bytes_is_begun_anew(small_store: Path, tmp_path: Path) -> None:
    """The next try succeeds: a bad beginning is not kept for ever."""
    store = tmp_path / "store"
    file = _published(small_store, str(store)).files["image"]
    begun = tmp_path / "mine" / ".small.pulling" / file.sha256
    for wrong in (b"x" * 1000, b"x" * (file.bytes + 5)):
        begun.parent.mkdir(parents=True, exist_ok=True)
        begun.write_bytes(wrong)
        if len(wrong) < file.bytes:
            with pytest.raises(ModelError, match="its card says"):
                pull("small", str(store), tmp_path / "mine")
        verify(pull("small", str(store), tmp_path / "mine"))
        shutil.rmtree(tmp_path / "mine" / "small")


def test_what_was_begun_of_another_state_goes_with_the_next_pull(
    small_store: Path, tmp_path: Path
) -> None:
    """Nobody would ever go on with it; afterwards only the model is there."""
    store, mine = tmp_path / "store", tmp_path / "mine"
    card = _published(small_store, str(store))
    begun = mine / ".small.pulling" / ("0" * 64)
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"x" * 1000)
    pull("small", str(store), mine)
    there = {path.relative_to(mine).as_posix() for path in mine.rglob("*") if path.is_file()}
    assert there == {".small.lock", "small.toml", card.files["image"].path}


class _WithoutRanges(SimpleHTTPRequestHandler):
    """Sends files whole, as the standard library does."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@pytest.fixture
def plain_server(tmp_path: Path) -> Iterator[str]:
    """URI of the folder `store` behind a web server that knows no ranges."""
    handler = partial(_WithoutRanges, directory=str(tmp_path / "store"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize("begun", [0, 1000])
def test_a_web_server_that_sends_no_pieces_is_a_store_too(
    small_store: Path,
    tmp_path: Path,
    plain_server: str,
    monkeypatch: pytest.MonkeyPatch,
    begun: int,
) -> None:
    """Also for a pull that was begun: its file comes again, from the beginning."""
    file = _published(small_store, str(tmp_path / "store")).files["image"]
    monkeypatch.setattr("data_miner_models.store._BLOCK_BYTES", 512)
    monkeypatch.setattr("data_miner_models.store._CHUNK_BYTES", 256)
    part = tmp_path / "mine" / ".small.pulling" / file.sha256
    part.parent.mkdir(parents=True)
    part.write_bytes((tmp_path / "store" / file.path).read_bytes()[:begun])
    verify(pull("small", plain_server, tmp_path / "mine"))


def test_of_a_file_that_is_longer_than_its_card_says_little_more_is_read(
    small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in a store must not fill a disk."""
    store, read = tmp_path / "store", [0]
    card = _published(small_store, str(store))
    with (store / card.files["image"].path).open("ab") as stream:
        stream.write(b"?" * 100_000)
    monkeypatch.setattr("data_miner_models.store._CHUNK_BYTES", 512)
    with pytest.raises(ModelError, match="more bytes, its card says"):
        pull("small", str(store), tmp_path / "mine", lambda _, done, __: read.append(done))
    assert max(read) <= card.files["image"].bytes + 512


@pytest.mark.parametrize("path", ["small.toml", "other.toml", "small/graph.onnx"])
def test_a_model_never_replaces_another_ones_file_or_card(
    small_store: Path, tmp_path: Path, path: str
) -> None:
    """A card may name any path; what is in a folder already stays."""
    store, mine = tmp_path / "store", tmp_path / "mine"
    card = _published(small_store, str(store))
    here = pull("small", str(store), mine)
    before = {file: file.read_bytes() for file in mine.rglob("*.*") if file.is_file()}
    (store / "bad").write_bytes(b"other")
    digest, size = describe(store / "bad")
    taken = card.files["image"].path if path.endswith(".onnx") else path
    bad = replace(card, name="bad", files={"image": ModelFile(taken, digest, size)})
    (store / "bad.toml").write_text(card_text(bad))
    (store / taken).write_bytes(b"other")
    with pytest.raises(ModelError, match=r"model bad: its file .* would"):
        pull("bad", str(store), mine)
    after = {file: file.read_bytes() for file in before}
    assert after == before
    verify(here, again=True)
    assert not (mine / "bad.toml").exists()


def test_models_may_share_a_file(small_store: Path, tmp_path: Path) -> None:
    """As bundled ones do: what one card says of it, the other says too."""
    store, mine = tmp_path / "store", tmp_path / "mine"
    card = _published(small_store, str(store))
    (store / "twin.toml").write_text(card_text(replace(card, name="twin")))
    for name in ("small", "twin"):
        verify(pull(name, str(store), mine))


def test_who_publishes_again_mends_a_damaged_file(small_store: Path, tmp_path: Path) -> None:
    """Also one that kept its size."""
    store = tmp_path / "store"
    path = store / _published(small_store, str(store)).files["image"].path
    right = path.read_bytes()
    path.write_bytes(bytes(len(right)))

    _published(small_store, str(store))

    assert path.read_bytes() == right


def test_a_killed_publish_leaves_one_file_that_the_next_writes_over(
    small_store: Path, tmp_path: Path
) -> None:
    """However often it is killed; afterwards the model is there and nothing else."""
    store = tmp_path / "store"
    for _ in range(2):
        command = [sys.executable, "-c", _PUBLISHING, str(small_store), str(store)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
            assert killed.stdout is not None
            assert killed.stdout.readline()
            os.kill(killed.pid, signal.SIGKILL)
        assert len([path for path in store.rglob("*") if path.is_file()]) == 1
    card = _published(small_store, str(store))
    verify(replace(card, folder=store))
    there = {path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file()}
    assert there == {"small.toml", card.files["image"].path}


_PUBLISHING = """
import sys
from pathlib import Path
from data_miner_models import store
from data_miner_models.cards import load_card
def half(source, target):
    Path(target).write_bytes(Path(source).read_bytes()[:100])
    print("half", flush=True)
    sys.stdin.read()
store.shutil.copyfile = half
card = load_card("small", [Path(sys.argv[1])])
store.publish(card, {"image": card.path("image")}, sys.argv[2], lambda *_: None)
"""

_PULLING = """
import sys
from pathlib import Path
from data_miner_models import store
moves = 0
def moved(path, done, whole):
    global moves
    moves += 1
    print(path, done, whole, flush=True)
    if len(sys.argv) > 4 and moves == int(sys.argv[4]):
        sys.stdin.read()
store._CHUNK_BYTES = 512
store.pull(sys.argv[1], sys.argv[2], Path(sys.argv[3]), moved)
"""


@pytest.mark.parametrize("moves", [1, 2, 3])
def test_a_pull_that_was_killed_leaves_no_model_and_goes_on(
    small_store: Path, tmp_path: Path, moves: int
) -> None:
    """SIGKILL after each part of the file."""
    store = tmp_path / "store"
    _published(small_store, str(store))
    mine = tmp_path / "mine"
    command = [sys.executable, "-c", _PULLING, "small", str(store), str(mine), str(moves)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        for _ in range(moves):
            assert killed.stdout.readline()
        os.kill(killed.pid, signal.SIGKILL)
    assert not (mine / "small.toml").exists()
    assert list(mine.rglob("*.onnx")) == []
    verify(pull("small", str(store), mine))


def test_two_processes_that_pull_at_once_download_once(small_store: Path, tmp_path: Path) -> None:
    """The second waits for the first, and finds everything there."""
    store = tmp_path / "store"
    file = _published(small_store, str(store)).files["image"]
    command = [sys.executable, "-c", _PULLING, "small", str(store), str(tmp_path / "mine")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [process.communicate(timeout=60)[0].splitlines() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    once = [f"{file.path} {file.bytes} {file.bytes}"]
    assert once in lines
    assert sum(len(said) > 1 for said in lines) == 1
    verify(load_card("small", [tmp_path / "mine"]))


@pytest.mark.parametrize("name", ["../x", "a/b", "Upper", "", ".hidden", "x" * 101])
def test_a_name_that_no_card_may_have_is_refused(
    small_store: Path, tmp_path: Path, name: str
) -> None:
    """Before anything is written: names are those of files."""
    with pytest.raises(ModelError, match="is no name for a model"):
        pull(name, str(tmp_path / "store"), tmp_path / "mine")
    with pytest.raises(ModelError, match="name"):
        _published(small_store, str(tmp_path / "store"), name)
    assert {path.name for path in tmp_path.iterdir()} == {"small.onnx", "small.toml"}
