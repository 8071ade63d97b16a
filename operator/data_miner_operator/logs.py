"""The libraries' log in the process' own form: warnings and worse, redacted like all else."""

from __future__ import annotations

import logging
import re
from typing import Final

from data_miner import telemetry

_OWN: Final = ("kopf", "kubernetes", "urllib3", "aiohttp", "asyncio")


_AGAIN: Final = re.compile(r"Request attempt #(?!1\b)")
"""A watch that waits for an API server says so at each attempt: the first one is enough."""


def _new(record: logging.LogRecord) -> bool:
    return not _AGAIN.match(telemetry.words(record))


def route_libraries() -> None:
    """Send what libraries log with the logging module to the process' own log."""
    telemetry.route_libraries()
    for name in _OWN:
        found = logging.getLogger(name)
        found.handlers = [telemetry.LibraryLog(logging.WARNING)]
        found.handlers[0].addFilter(_new)
        found.setLevel(logging.WARNING)
        found.propagate = False
    # Said at each start: signals are the operator's own affair, and it runs kopf in a thread.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
