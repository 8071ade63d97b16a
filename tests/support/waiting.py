"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def eventually(
    condition: Callable[[], bool],
    *,
    seconds: float = 60.0,
    what: str = "",
    pause_seconds: float = 0.01,
) -> None:
    """Return as soon as `condition` holds; raises AssertionError when it does not in time.

    `pause_seconds`: between two looks; longer where a look is work for somebody.
    """
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        pause.wait(pause_seconds)
