"""The models of a store on this machine: brought once, never more than there is room for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from data_miner_models import store
from data_miner_models.cache import COMING, GONE, USE, ModelCache, let_go
from data_miner_models.cards import ModelCard, ModelFile, load_card, verify
from data_miner_models.errors import DamagedError, ModelError, NoRoomError, TooLargeError
from support.media_server import MediaServer, Page

PLENTY = 10**9


class Shelf:
    """A store of models whose content does not matter, behind a server that counts."""

    def __init__(self, folder: Path, server: MediaServer, template: ModelCard) -> None:
        self.server = server
        self.uri = server.url("/models")
        self._folder = folder
        self._template = template

    def put(self, name: str, size: int, fill: str = "x") -> ModelCard:
        """Publish a model of so many bytes; another `fill` is another state of it."""
        made = self._folder / f"{name}-{fill}.onnx"
        made.write_bytes((f"{name} {fill} ".encode() * size)[:size])
        digest, count = store.describe(made)
        card = replace(
            self._template, name=name, files={"image": ModelFile(made.name, digest, count)}
        )
        published = store.publish(
            card, {"image": made}, str(self._folder / "store"), lambda *_: None
        )
        for path in (self._folder / "store").rglob("*"):
            key = f"/models/{path.relative_to(self._folder / 'store')}"
            if path.suffix == ".toml" or (path.is_file() and key not in self.server.pages):
                self.server.add(key, path.read_bytes())
        return published

    def page(self, card: ModelCard) -> Page:
        """What the server knows of the model's one file."""
        return self.server.pages[f"/models/{card.files['image'].path}"]


@pytest.fixture
def shelf(small_store: Path, tmp_path: Path) -> Iterator[Shelf]:
    """An empty one."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    with MediaServer() as server:
        yield Shelf(folder, server, load_card("small", [small_store]))


def bring(cache: ModelCache, uri: str, name: str, moved: Any = lambda *_: None) -> ModelCard:
    """As whoever finds a model in the store does it."""
    card, text = store.card_at(name, uri)
    return cache.bring(card, text, uri, moved, lambda: None)


def names(cache: ModelCache) -> list[str]:
    """Of the models that can be used."""
    return [cached.name for cached in cache.models() if cached.whole]


_CHILD = """
import sys
from pathlib import Path
from data_miner_models import cache, store
name, uri, folder, limit, stop_at = sys.argv[1:]
moves = 0
def moved(path, done, whole):
    global moves
    moves += 1
    if stop_at == str(moves):
        print("stopped", flush=True)
        sys.stdin.read()
waits = False
def waiting():
    global waits
    if not waits:
        print("waits", flush=True)
    waits = True
def removed(folder, **_):
    print("removing", flush=True)
    sys.stdin.read()
if stop_at == "removal":
    cache.shutil.rmtree = removed
store._CHUNK_BYTES = 512
card, text = store.card_at(name, uri)
card = cache.ModelCache(Path(folder), int(limit)).bring(card, text, uri, moved, waiting)
print("has", flush=True)
sys.stdin.read()
"""


class Child:
    """Another process that brings a model, and holds it until it is told to end or is killed."""

    def __init__(
        self, name: str, uri: str, folder: Path, limit: int = PLENTY, stop_at: str = ""
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, name, uri, str(folder), str(limit), stop_at],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def says(self, word: str) -> None:
        """Wait until it does."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{word}\n"

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.communicate()

    def end(self) -> None:
        """Let it end by itself."""
        self._process.communicate(timeout=60)
        assert self._process.returncode == 0


@pytest.fixture
def child(shelf: Shelf, tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Starts processes that share a cache."""
    started: list[Child] = []

    def start(name: str, **how: Any) -> Child:
        started.append(Child(name, shelf.uri, tmp_path / "cache", **how))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    """One with room enough."""
    return ModelCache(tmp_path / "cache", PLENTY)


def test_what_was_brought_is_found_without_the_store(shelf: Shelf, cache: ModelCache) -> None:
    """By its name and digest, in any process, as often as it is wanted."""
    there = shelf.put("small", 2000)
    assert cache.find("small", there.digest) is None
    here = bring(cache, shelf.uri, "small")
    verify(here, again=True)
    for page in shelf.server.pages.values():
        page.open.clear()
    assert here.digest == there.digest
    assert cache.find("small", there.digest) == here
    assert cache.find("small", "0" * 64) is None
    assert shelf.page(there).times_sent == 1


def test_two_processes_that_want_a_model_at_once_download_it_once(
    shelf: Shelf, cache: ModelCache, child: Callable[..., Child]
) -> None:
    """The second waits for the first, and finds it there."""
    there = shelf.put("small", 5000)
    with shelf.server.hold(f"/models/{there.files['image'].path}") as page:
        first = child("small")
        assert page.asked.wait(120)
        second = child("small")
        second.says("waits")
    for one in (first, second):
        one.says("has")
    assert page.times_sent == 1


@pytest.mark.parametrize("moves", [1, 2, 4])
def test_a_killed_pull_leaves_nothing_that_looks_whole_and_is_gone_on_with(
    shelf: Shelf, cache: ModelCache, child: Callable[..., Child], moves: int
) -> None:
    """What it had brought is not brought again."""
    there = shelf.put("small", 5000)
    killed = child("small", stop_at=str(moves))
    killed.says("stopped")
    killed.kill()
    assert cache.find("small", there.digest) is None
    assert names(cache) == []
    shelf.server.forget_counts()
    here = bring(cache, shelf.uri, "small")
    verify(here, again=True)
    # The last piece had not left the killed process's memory.
    assert shelf.page(there).bytes_sent in {5000 - 512 * n for n in range(moves + 1)}
    assert not list(here.folder.glob(".*.pulling"))
    assert not (here.folder / COMING).exists()


def test_states_of_one_model_lie_side_by_side(shelf: Shelf, cache: ModelCache) -> None:
    """Projects that were made for the first one go on."""
    first = shelf.put("small", 2000, "a")
    old = bring(cache, shelf.uri, "small")
    second = shelf.put("small", 2000, "b")
    new = bring(cache, shelf.uri, "small")
    assert first.digest != second.digest
    assert (old.digest, new.digest) == (first.digest, second.digest)
    for card in (old, new):
        verify(card, again=True)
    assert cache.find("small", first.digest) == old


def test_the_model_used_longest_ago_goes_when_room_is_needed(
    shelf: Shelf, cache: ModelCache
) -> None:
    """Looking for a model is using it."""
    cards = {name: shelf.put(name, 1000) for name in ("a", "b", "c")}
    bounded = ModelCache(cache.folder, 3500)
    for name in ("a", "b"):
        bring(bounded, shelf.uri, name)
    assert bounded.find("a", cards["a"].digest) is not None
    bring(bounded, shelf.uri, "c")
    assert names(bounded) == ["a", "c"]
    assert [path for path in cache.folder.iterdir() if path.name.startswith(GONE)] == []


def test_a_model_that_a_process_uses_is_not_removed(
    shelf: Shelf, cache: ModelCache, child: Callable[..., Child]
) -> None:
    """It says which are in use; as soon as nobody holds a card any more, there is room."""
    for name in ("a", "b", "c"):
        shelf.put(name, 1000)
    shelf.put("small", 10)
    bounded = ModelCache(cache.folder, 3600)
    elsewhere = child("a", limit=3600)
    elsewhere.says("has")
    mine = bring(bounded, shelf.uri, "b")
    bring(bounded, shelf.uri, "small")
    with pytest.raises(NoRoomError, match=r"no room for model c .*: in use are a, b; raise DATA_"):
        bring(bounded, shelf.uri, "c")
    verify(mine, again=True)
    assert names(bounded) == ["a", "b", "small"]
    elsewhere.end()
    bring(bounded, shelf.uri, "c")
    assert names(bounded) == ["b", "c", "small"]
    del mine
    bring(bounded, shelf.uri, "a")
    assert names(bounded) == ["a", "c", "small"]


def test_a_model_on_its_way_has_its_place_already(
    shelf: Shelf, cache: ModelCache, child: Callable[..., Child]
) -> None:
    """Two pulls at once do not both take the last room."""
    shelf.put("a", 2000)
    shelf.put("b", 2000)
    coming = child("a", limit=3000, stop_at="1")
    coming.says("stopped")
    bounded = ModelCache(cache.folder, 3000)
    with pytest.raises(NoRoomError, match="in use are a;"):
        bring(bounded, shelf.uri, "b")
    coming.kill()
    bring(bounded, shelf.uri, "b")
    assert [one.name for one in bounded.models()] == ["b"]


def test_what_a_killed_pull_had_begun_goes_before_any_model(
    shelf: Shelf, cache: ModelCache, child: Callable[..., Child]
) -> None:
    """Nobody can use it, and it takes room all the same."""
    for name in ("a", "b", "c"):
        shelf.put(name, 1000)
    bring(cache, shelf.uri, "a")
    killed = child("b", stop_at="1")
    killed.says("stopped")
    killed.kill()
    bring(ModelCache(cache.folder, 3500), shelf.uri, "c")
    assert [one.name for one in cache.models()] == ["a", "c"]


def test_a_removal_that_was_killed_leaves_no_half_and_is_finished_next_time(
    shelf: Shelf, cache: ModelCache, child: Callable[..., Child]
) -> None:
    """What is going has no name any more that a model could have."""
    for name in ("a", "b"):
        shelf.put(name, 1000)
    bring(cache, shelf.uri, "a")
    killed = child("b", limit=1500, stop_at="removal")
    killed.says("removing")
    killed.kill()
    assert names(cache) == []
    assert [path.name.startswith(GONE) for path in cache.folder.glob(f"{GONE}*")] == [True]
    bring(ModelCache(cache.folder, 1500), shelf.uri, "b")
    assert names(cache) == ["b"]
    assert list(cache.folder.glob(f"{GONE}*")) == []


def test_a_model_that_is_larger_than_the_bound_is_refused_and_removes_nothing(
    shelf: Shelf, cache: ModelCache
) -> None:
    """It says both sizes and the setting."""
    shelf.put("a", 1000)
    shelf.put("large", 3_000_000)
    bounded = ModelCache(cache.folder, 2_000_000)
    bring(bounded, shelf.uri, "a")
    with pytest.raises(TooLargeError, match=r"large has 3.0 MB.* 2.0 MB: raise DATA_MINER_MODELS"):
        bring(bounded, shelf.uri, "large")
    assert names(bounded) == ["a"]


def test_a_damaged_file_is_found_and_brought_again(shelf: Shelf, cache: ModelCache) -> None:
    """One that is shorter at once; one with other bytes as soon as it is read."""
    there = shelf.put("small", 2000)
    here = bring(cache, shelf.uri, "small")
    path = here.path("image")
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.find("small", there.digest) is None
    here = bring(cache, shelf.uri, "small")
    path.write_bytes(b"?" + path.read_bytes()[1:])
    assert cache.find("small", there.digest) == here
    with pytest.raises(DamagedError, match="sha256") as caught:
        verify(here)
    assert let_go(caught.value)
    assert cache.find("small", there.digest) is None
    verify(bring(cache, shelf.uri, "small"))
    assert shelf.page(there).times_sent == 3


def test_a_damaged_file_of_a_folder_of_ones_own_is_left_alone(small_store: Path) -> None:
    """It is not ours to remove."""
    path = small_store / "small.onnx"
    path.write_bytes(path.read_bytes() + b"?")
    with pytest.raises(DamagedError) as caught:
        verify(load_card("small", [small_store]))
    assert not let_go(caught.value)
    assert path.exists()


def test_other_bytes_than_the_card_says_are_not_kept(shelf: Shelf, cache: ModelCache) -> None:
    """What the store has is wrong: that is said, and the next try begins anew."""
    there = shelf.put("small", 2000)
    page = shelf.page(there)
    right, page.body = page.body, b"?" * 2000
    with pytest.raises(ModelError, match="its card says"):
        bring(cache, shelf.uri, "small")
    assert names(cache) == []
    page.body = right
    verify(bring(cache, shelf.uri, "small"), again=True)


def test_who_waits_may_stop_waiting(shelf: Shelf, cache: ModelCache, child: Any) -> None:
    """A worker that is told to stop does not wait for another one's pull."""
    shelf.put("small", 5000)
    child("small", stop_at="1").says("stopped")
    card, text = store.card_at("small", shelf.uri)

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        cache.bring(card, text, shelf.uri, lambda *_: None, stop)


LIMIT = 20_000
FILES = {"a": 1500, "b": 3500, "c": 5500, "d": 8500, "e": 13500, "f": 19400}
"""Bytes of the one file of each model."""
SIZES = dict(FILES)
"""The same with the card, as soon as there is one."""


class Machine(RuleBasedStateMachine):
    """Any order of uses, ends of uses, damages and killed processes."""

    shelf: Shelf
    folder: Path
    number = 0

    @initialize()
    def begin(self) -> None:
        Machine.number += 1
        self.cache = ModelCache(Machine.folder / str(Machine.number), LIMIT)
        self.held: dict[str, ModelCard] = {}
        self.recent: list[str] = []
        """Names of those that are whole, the one used longest ago first."""

    @rule(name=st.sampled_from(sorted(SIZES)))
    def use(self, name: str) -> None:
        card, text = CARDS[name]
        found = self.cache.find(name, card.digest)
        assert (found is not None) == (name in self.recent)
        if found is None:
            others = sum(SIZES[other] for other in self.held if other != name)
            try:
                found = self.cache.bring(card, text, URI[0], lambda *_: None, lambda: None)
            except NoRoomError:
                assert others + SIZES[name] > LIMIT
                return
            assert others + SIZES[name] <= LIMIT
            self._make_room(name)
        verify(found, again=True)
        self.held[name] = found
        self.recent = [*(one for one in self.recent if one != name), name]

    def _make_room(self, name: str) -> None:
        for other in list(self.recent):
            if sum(SIZES[one] for one in self.recent) + SIZES[name] <= LIMIT:
                return
            if other not in self.held:
                self.recent.remove(other)

    @rule(name=st.sampled_from(sorted(SIZES)))
    def let_go(self, name: str) -> None:
        self.held.pop(name, None)

    @rule(name=st.sampled_from(sorted(SIZES)))
    def shorten(self, name: str) -> None:
        """Somebody cuts a file."""
        card, _ = CARDS[name]
        path = self.cache.folder / f"{name}@{card.digest}" / card.files["image"].path
        if name in self.recent and name not in self.held:
            os.truncate(path, 10)
            self.recent.remove(name)

    @rule(name=st.sampled_from(sorted(SIZES)), count=st.integers(0, 500))
    def killed(self, name: str, count: int) -> None:
        """A process was killed over a pull that had its place."""
        card, _ = CARDS[name]
        folder = self.cache.folder / f"{name}@{card.digest}"
        if not folder.exists():
            parts = folder / f".{name}.pulling"
            parts.mkdir(parents=True)
            (folder / USE).touch()
            (folder / COMING).write_text(str(SIZES[name]))
            part = parts / card.files["image"].sha256
            part.write_bytes(CONTENT[name][:count])

    @invariant()
    def bounded(self) -> None:
        """Models that are whole never take more than the bound, and those in use stay whole."""
        if not hasattr(self, "cache"):
            return
        whole = [one for one in self.cache.models() if one.whole]
        assert {one.name for one in whole} == set(self.recent)
        assert sum(SIZES[one.name] for one in whole) <= LIMIT
        for card in self.held.values():
            assert card.path("image").stat().st_size == card.files["image"].bytes


CARDS: dict[str, tuple[ModelCard, str]] = {}
CONTENT: dict[str, bytes] = {}
URI: list[str] = []


def test_any_history_keeps_the_bound_and_what_is_in_use(small_store: Path, tmp_path: Path) -> None:
    """The least recently used go first, and a model is there when nothing in use is in its way."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    with MediaServer() as server:
        shelf = Shelf(folder, server, load_card("small", [small_store]))
        URI[:] = [str(folder / "store")]
        for name, size in FILES.items():
            card = shelf.put(name, size)
            CARDS[name] = store.card_at(name, URI[0])
            SIZES[name] = size + len(CARDS[name][1])
            CONTENT[name] = (folder / "store" / card.files["image"].path).read_bytes()
        Machine.folder = tmp_path / "caches"
        run_state_machine_as_test(
            Machine, settings=settings(max_examples=20, stateful_step_count=20, deadline=None)
        )
