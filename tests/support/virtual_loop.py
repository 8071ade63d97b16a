"""An event loop whose time stands still until a test moves it."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any

MOST_ROUNDS = 100_000


class _Selector(selectors.DefaultSelector):
    """Instead of waiting, it tells the loop to stop: nothing is left that could happen now."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        self.loop.rounds += 1
        if self.loop.rounds > MOST_ROUNDS:
            raise AssertionError("the event loop never comes to rest")
        if not found and (timeout is None or timeout > 0):
            self.loop.stop()
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """`run` lets everything happen that can happen without waiting."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.rounds = 0
        self.problems: list[str] = []
        """Of tasks and callbacks that nobody waited for."""
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self.now

    def run(self, seconds: float = 0.0) -> None:
        """Move the time on in one leap, and let everything happen that is due by then."""
        self.now += seconds
        self.rounds = 0
        self.run_forever()

    def _note(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        self.problems.append(f"{context.get('message')}: {context.get('exception')!r}")
