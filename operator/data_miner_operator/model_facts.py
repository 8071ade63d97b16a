"""Which models the stores have, without reading gigabytes at each look.

A model's files are checked against its card once, and again when the card or one of its files is
another (by time and size).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from data_miner.compiler import ModelInfo
from data_miner.models import ModelNotFoundError, model_lookup
from data_miner_models.cards import load_card
from data_miner_models.errors import ModelError

THREADS: Final = 4
KEPT_SECONDS: Final = 2.0
"""So long an answer is given again without a look at the files."""

_State = tuple[str, tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class _Answer:
    info: ModelInfo | None
    problem: str
    state: _State | None
    at: float


class Models:
    """Facts of models by name; files are read in threads of its own."""

    def __init__(
        self, stores: Sequence[Path], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stores = tuple(stores)
        self._clock = clock
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        """Two threads shall not hash one model at once, nor wait for another one's."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="models")
        self._answers: dict[str, _Answer] = {}

    async def find(self, name: str) -> tuple[ModelInfo | None, str]:
        """What compiling needs of a model, or None and one line saying what is in the way."""
        known = self._answers.get(name)
        if known is not None and self._clock() - known.at < KEPT_SECONDS:
            return known.info, known.problem
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._find, name)

    def close(self) -> None:
        """Start no more looks."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _find(self, name: str) -> tuple[ModelInfo | None, str]:
        with self._locks[name]:
            known = self._answers.get(name)
            if known is not None and self._clock() - known.at < KEPT_SECONDS:
                return known.info, known.problem
            answer = self._look(name, known)
            self._answers[name] = answer
            return answer.info, answer.problem

    def _look(self, name: str, known: _Answer | None) -> _Answer:
        state = self._state(name)
        if known is not None and state is not None and known.state == state:
            return _Answer(known.info, known.problem, state, self._clock())
        try:
            info, problem = model_lookup(self._stores)(name), ""
        except ModelNotFoundError as error:
            info, problem = None, str(error)
        return _Answer(info, problem, state, self._clock())

    def _state(self, name: str) -> _State | None:
        """What tells that a model's files are the same; None when they are not all there."""
        try:
            card = load_card(name, self._stores)
            stats = [card.path(role).stat() for role in sorted(card.files)]
        except (ModelError, OSError):
            return None
        return card.digest, tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)
