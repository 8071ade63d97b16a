"""Models of a store at a URI on this machine: brought once for all processes, within a bound.

Each state of a model has a folder of its own, `<name>@<digest>`, laid out like a store: projects
that were made for different states of a model go on side by side. Locks are the kernel's and go
with their process. Whoever uses a model holds the one in its folder together with others, and a
folder goes only when nobody does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from data_miner_models.cards import ModelCard, check_name, parse_card
from data_miner_models.errors import DamagedError, ModelError, NoRoomError, TooLargeError
from data_miner_models.store import Progress, bring, sync_folder, write_file

TURN: Final = ".turn"
"""In the cache: whoever holds it makes room, alone."""
USE: Final = ".use"
"""In a model's folder: held together by those who use it. Its time is that of the last use."""
PULL: Final = ".pull"
"""In a model's folder: held by the one who brings it."""
COMING: Final = ".coming"
"""In a model's folder that is not whole: how many bytes it shall have."""
GONE: Final = ".gone-"
"""What a model's folder is called while it is removed."""
_BETWEEN: Final = "@"
_LOOK_SECONDS: Final = 0.1

Waiting = Callable[[], None]
"""Called now and then while another process is waited for; may raise to wait no longer."""


@dataclass(frozen=True, slots=True)
class Cached:
    """What lies in a folder of the cache.

    Attributes:
        bytes: what it takes, or will take when it is whole.
        used_at: when a process took it last, as the system's clock had it.
        whole: whether it can be used, as far as sizes tell.
    """

    name: str
    digest: str
    folder: Path
    bytes: int
    used_at: float
    whole: bool


class ModelCache:
    """A folder for models that many processes use at once.

    Args:
        limit_bytes: so much may lie there, with what is on its way.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self._limit_bytes = limit_bytes

    def find(self, name: str, digest: str) -> ModelCard | None:
        """The card of a model that is here; None when it is not, or not whole.

        As long as somebody holds the card, no process removes the model.
        """
        check_name(name)
        use = _hold(self._folder_of(name, digest))
        return None if use is None else _held(use, self._folder_of(name, digest))

    def bring(
        self, card: ModelCard, text: str, uri: str, moved: Progress, waiting: Waiting
    ) -> ModelCard:
        """Bring a model from the store at `uri`, and give back its card here, as `find` does.

        Of several processes one brings it; what a killed one had brought is not brought again.

        Args:
            card: as the store has it, and `text` its file.

        Raises:
            TooLargeError: it can never be here.
            NoRoomError: others are in use.
            ModelError: as `store.pull`.
            OSError: the folder cannot be written.
        """
        folder = self._folder_of(card.name, card.digest)
        use = _hold(folder, make=True)
        assert use is not None, "a folder that is made is there"
        try:
            with _alone(folder / PULL, waiting):
                if _whole(folder) is None:
                    with _alone(self.folder / TURN, waiting):
                        self._make_room(card, len(text.encode()), folder)
                    bring(card.name, text, uri, folder, moved)
                    (folder / COMING).unlink(missing_ok=True)
        except BaseException:
            os.close(use)
            raise
        held = _held(use, folder)
        if held is None:
            raise ModelError(f"model {card.name}: {folder} was changed while it was brought")
        return held

    def models(self) -> tuple[Cached, ...]:
        """What lies here, by name and digest."""
        try:
            folders = [path for path in self.folder.iterdir() if _BETWEEN in path.name]
        except OSError:
            return ()
        found = [_look(folder) for folder in sorted(folders) if not folder.name.startswith(GONE)]
        return tuple(cached for cached in found if cached is not None)

    def look(self, cached: Cached) -> ModelCard | None:
        """The card of a whole model without using it: it may be removed at any time."""
        return _whole(cached.folder)

    def _folder_of(self, name: str, digest: str) -> Path:
        return self.folder / f"{name}{_BETWEEN}{digest}"

    def _make_room(self, card: ModelCard, text_bytes: int, folder: Path) -> None:
        """Remove what was used longest ago until the model fits, and reserve its place."""
        wanted = sum(file.bytes for file in card.files.values()) + text_bytes
        if wanted > self._limit_bytes:
            raise TooLargeError(
                f"model {card.name} has {_mb(wanted)}, and {self.folder} may hold "
                f"{_mb(self._limit_bytes)}: raise DATA_MINER_MODELS_CACHE_GB"
            )
        for gone in self.folder.glob(f"{GONE}*"):
            shutil.rmtree(gone, ignore_errors=True)
        others = [cached for cached in self.models() if cached.folder != folder]
        used = [cached for cached in others if _in_use(cached.folder)]
        # Of what is not whole nobody has any use, unless it is on its way.
        free = sorted(
            (cached for cached in others if cached not in used),
            key=lambda one: (one.whole, one.used_at),
        )
        excess = sum(cached.bytes for cached in others) + wanted - self._limit_bytes
        # Where it would not help, nothing goes.
        if excess <= sum(cached.bytes for cached in free):
            for cached in free:
                if excess <= 0:
                    break
                if self._remove(cached.folder):
                    excess -= cached.bytes
                else:
                    used.append(cached)
        if excess > 0:
            names = ", ".join(sorted({cached.name for cached in used}))
            raise NoRoomError(
                f"no room for model {card.name} ({_mb(wanted)}) in {self.folder}, which may hold "
                f"{_mb(self._limit_bytes)}: in use are {names}; raise DATA_MINER_MODELS_CACHE_GB"
            )
        write_file(folder / COMING, str(wanted).encode())

    def _remove(self, folder: Path) -> bool:
        """Remove a model unless somebody uses it. It goes in one step: no half of it is left."""
        gone = self.folder / f"{GONE}{secrets.token_hex(6)}"
        with (folder / USE).open("ab") as use:
            if not _alone_at_once(use):
                return False
            folder.rename(gone)
        sync_folder(self.folder)
        shutil.rmtree(gone, ignore_errors=True)
        return True


def let_go(damaged: DamagedError) -> bool:
    """Remove a damaged file of a model in a cache, so that it is brought again.

    False where the model lies elsewhere: such files are their owner's.
    """
    if not (damaged.folder / USE).is_file():
        return False
    damaged.path.unlink(missing_ok=True)
    return True


def _hold(folder: Path, *, make: bool = False) -> int | None:
    """A descriptor that keeps a model's folder from being removed; None when it is not there."""
    while True:
        try:
            if make:
                folder.mkdir(parents=True, exist_ok=True)
            use = os.open(folder / USE, os.O_RDWR | (os.O_CREAT if make else 0), 0o666)
        except FileNotFoundError:
            if make:
                continue  # removed between the two lines
            return None
        fcntl.flock(use, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(use), (folder / USE).stat()):
                return use
        os.close(use)


def _in_use(folder: Path) -> bool:
    with (folder / USE).open("ab") as use:
        return not _alone_at_once(use)


def _alone_at_once(lock: IO[bytes]) -> bool:
    """Take a lock that nobody holds; whether that was so."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(use: int, folder: Path) -> ModelCard | None:
    """The card of a whole model, which holds `use` for as long as it lives."""
    card = _whole(folder)
    if card is None:
        os.close(use)
        return None
    os.utime(use, ns=(time.time_ns(), time.time_ns()))  # the kernel's own clock is coarse
    # Whatever runs the model keeps its card. At the end of the process the kernel lets go.
    weakref.finalize(card, os.close, use).atexit = False
    return card


def _whole(folder: Path) -> ModelCard | None:
    """The card of a model whose files are all there, as far as their sizes tell."""
    name, _, digest = folder.name.partition(_BETWEEN)
    path = folder / f"{name}.toml"
    try:
        card = parse_card(path.read_text(encoding="utf-8"), path)
        sizes = {role: card.path(role).stat().st_size for role in card.files}
    except (ModelError, OSError, ValueError):
        return None
    right = sizes == {role: file.bytes for role, file in card.files.items()}
    return card if right and card.digest == digest else None


def _look(folder: Path) -> Cached | None:
    """What is in a folder; None when it is gone by now."""
    name, _, digest = folder.name.partition(_BETWEEN)
    try:
        used_at = (folder / USE if (folder / USE).exists() else folder).stat().st_mtime
    except FileNotFoundError:
        return None
    there = coming = 0
    for path, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(FileNotFoundError):  # it got its name just now
                there += Path(path, file).stat().st_size
    with contextlib.suppress(OSError, ValueError):
        coming = int((folder / COMING).read_text(encoding="utf-8"))
    whole = _whole(folder) is not None
    return Cached(name, digest, folder, max(there, coming), used_at, whole)


@contextlib.contextmanager
def _alone(path: Path, waiting: Waiting) -> Iterator[None]:
    """Wait until no other process holds this lock; it goes with the process."""
    with path.open("ab") as lock:
        while not _alone_at_once(lock):
            waiting()
            time.sleep(_LOOK_SECONDS)
        yield


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
