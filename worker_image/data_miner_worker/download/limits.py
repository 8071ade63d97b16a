"""Bounds of one download."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOCKET_TIMEOUT: Final = "DATA_MINER_SOCKET_TIMEOUT_SECONDS"
_DEFAULT_SECONDS: Final = 30.0

Progress = Callable[[float | None], None]
"""Told the share that is done (0..1), or None when that is unknown; may raise StopRequested."""


def socket_timeout_seconds() -> float:
    """How long a server may say nothing; ``DATA_MINER_SOCKET_TIMEOUT_SECONDS``, default 30."""
    return float(os.environ.get(SOCKET_TIMEOUT) or _DEFAULT_SECONDS)


def _nobody() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a download may do."""

    max_bytes: int | None = None
    """More bytes than this are not wanted; None is no bound."""
    max_height: int = 1080
    """Tallest picture to choose where a site offers several, pixels."""
    cookies: Path | None = None
    """A file of cookies in Netscape's format; it is only read."""
    timeout_seconds: float = _DEFAULT_SECONDS
    """How long a server may say nothing."""
    asked: Callable[[], None] = _nobody
    """Called for each request to a site, whatever it answers."""
