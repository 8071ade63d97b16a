"""Which models the stores have, without reading gigabytes at each look.

A model in a folder is checked against its card once, and again when the card or one of its files
is another (by time and size). Of a model at a URI the card is read and its files are asked for
their sizes; while that store does not answer, what it has said last counts.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from data_miner.compiler import ModelInfo
from data_miner.model_stores import ModelStores
from data_miner.models import ModelNotFoundError, ModelStoreError, model_lookup
from data_miner_models.cards import load_card
from data_miner_models.errors import ModelError, UnknownModelError

THREADS: Final = 4
KEPT_SECONDS: Final = 2.0
"""So long an answer is given again without a look at the files."""
KEPT_THERE_SECONDS: Final = 15.0
"""So long a model at a URI is taken to be there without asking again."""
PATIENCE_SECONDS: Final = 3.0
"""So long an answer of the store at a URI is waited for; it still counts when it comes later."""
AWAY_SECONDS: Final = 5.0
"""So long after that store could not be asked nobody waits for it again."""

_State = tuple[str, tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class _Answer:
    info: ModelInfo | None
    problem: str
    state: _State | None
    good_until: float


class Models:
    """Facts of models by name; files are read in threads of its own."""

    def __init__(self, stores: ModelStores, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stores = stores
        self._folders = replace(stores, uri="")
        self._clock = clock
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        """Two threads shall not hash one model at once, nor wait for another one's."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="models")
        self._askers = ThreadPoolExecutor(THREADS, thread_name_prefix="model-store")
        """Of their own: a store that does not answer holds up no look into a folder."""
        self._asking: dict[str, asyncio.Future[_Answer]] = {}
        self._answers: dict[str, _Answer] = {}
        self._away = ""
        self._away_until = 0.0

    async def find(self, name: str) -> tuple[ModelInfo | None, str]:
        """What compiling needs of a model, or None and one line saying what is in the way.

        Raises ModelStoreError where nobody knows, because the store at the URI cannot be asked.
        """
        known = self._answers.get(name)
        if known is not None and self._clock() < known.good_until:
            return known.info, known.problem
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._threads, self._find, name)
        if answer is None:
            answer = await self._ask(name)
        return answer.info, answer.problem

    def forget(self, name: str) -> None:
        """Look again when asked next: what was missing may have been published since."""
        self._answers.pop(name, None)

    def close(self) -> None:
        """Start no more looks."""
        for threads in (self._threads, self._askers):
            threads.shutdown(wait=False, cancel_futures=True)

    # In folders

    def _find(self, name: str) -> _Answer | None:
        """What the folders say; None when they do not have it and the store at the URI may."""
        with self._locks[name]:
            known = self._answers.get(name)
            if known is not None and self._clock() < known.good_until:
                return known
            if self._stores.uri and not self._is_here(name):
                return None
            answer = self._look(name, known)
            self._answers[name] = answer
            return answer

    def _is_here(self, name: str) -> bool:
        try:
            load_card(name, self._stores.folders)
        except UnknownModelError:
            return False
        except ModelError:
            pass  # it is, and something is wrong with it
        return True

    def _look(self, name: str, known: _Answer | None) -> _Answer:
        state = self._state(name)
        if known is not None and state is not None and known.state == state:
            return replace(known, good_until=self._clock() + KEPT_SECONDS)
        try:
            info, problem = model_lookup(self._folders)(name), ""
        except ModelNotFoundError as error:
            info, problem = None, str(error)
        return _Answer(info, problem, state, self._clock() + KEPT_SECONDS)

    def _state(self, name: str) -> _State | None:
        """What tells that a model's files are the same; None when they are not all there."""
        try:
            card = load_card(name, self._stores.folders)
            stats = [card.path(role).stat() for role in sorted(card.files)]
        except (ModelError, OSError):
            return None
        return card.digest, tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)

    # At the URI

    async def _ask(self, name: str) -> _Answer:
        """What the store says, or has said last where it does not answer in time."""
        known = self._answers.get(name)
        if known is not None and self._clock() < known.good_until:
            return known  # it came while this one looked into the folders
        if self._clock() >= self._away_until:
            asking = self._asking.get(name)
            if asking is None:
                loop = asyncio.get_running_loop()
                asking = loop.run_in_executor(self._askers, self._look_there, name)
                self._asking[name] = asking
                asking.add_done_callback(lambda done: self._heard(name, done))
            await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)
            if not asking.done():
                self._no_answer("the store of models does not answer")
            elif not isinstance(asking.exception(), ModelStoreError):
                return asking.result()
        known = self._answers.get(name)
        if known is not None and known.info is not None:
            return known
        raise ModelStoreError(self._away)

    def _look_there(self, name: str) -> _Answer:
        try:
            info = model_lookup(self._stores)(name)
        except ModelNotFoundError as error:
            return _Answer(None, str(error), None, self._clock() + KEPT_SECONDS)
        return _Answer(info, "", None, self._clock() + KEPT_THERE_SECONDS)

    def _heard(self, name: str, done: asyncio.Future[_Answer]) -> None:
        """An answer has come, perhaps after everybody who wanted it has gone on without."""
        del self._asking[name]
        if done.cancelled():
            return
        error = done.exception()
        if isinstance(error, ModelStoreError):
            self._no_answer(str(error))
        elif error is None:
            self._answers[name] = done.result()
            self._away_until = 0.0

    def _no_answer(self, problem: str) -> None:
        self._away = problem
        self._away_until = self._clock() + AWAY_SECONDS
