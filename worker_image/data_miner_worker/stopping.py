"""What SIGTERM, SIGINT and SIGCHLD mean to a worker: they wake its loop, and stops are counted."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Self


class StopSignals:
    """Counts requests to stop: the first lets tasks finish, the second hands them back at once.

    A context manager that puts the former handlers back. `fileno` becomes readable with each
    signal, so that a loop which waits on it wakes.
    """

    def __init__(self) -> None:
        self.count = 0
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._former: list[tuple[int, object]] = []
        self._former_wakeup = -1

    def fileno(self) -> int:
        return self._reader

    def drain(self) -> None:
        """Forget that signals came; `count` stays."""
        try:
            while os.read(self._reader, 1024):
                pass
        except BlockingIOError:
            return

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._former.append((number, signal.signal(number, self._stop)))
        self._former.append((signal.SIGCHLD, signal.signal(signal.SIGCHLD, self._ignore)))
        self._former_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._former_wakeup)
        for number, handler in self._former:
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() gave
        os.close(self._reader)
        os.close(self._writer)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    def _ignore(self, _number: int, _frame: FrameType | None) -> None:
        """A handler must be there for the wake-up to happen."""
