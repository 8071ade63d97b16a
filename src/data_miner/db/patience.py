"""Waits for a database that is not there yet, or not ready: what the start of an installation does.

Everything starts at once where a cluster starts it, in any order.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import Engine

from data_miner.db.engine import reachable
from data_miner.db.revision import check_revision
from data_miner.errors import DatabaseError

LOOK_SECONDS: Final = 1.0


def wait_until_reachable(engine: Engine, seconds: float, say: Callable[[str], object]) -> None:
    """Return when the database answers.

    `say` is told why it does not, once for each reason. Raises the last DatabaseError after
    `seconds`; one look is always taken.
    """
    _wait(lambda: _connect(engine), seconds, say)


def wait_for_schema(engine: Engine, seconds: float, say: Callable[[str], object]) -> None:
    """Return when the database answers and has this program's schema; otherwise as above."""
    _wait(lambda: check_revision(engine), seconds, say)


def _wait(look: Callable[[], None], seconds: float, say: Callable[[str], object]) -> None:
    deadline = time.monotonic() + seconds
    said = ""
    while True:
        try:
            return look()
        except DatabaseError as error:
            if time.monotonic() + LOOK_SECONDS > deadline:
                raise
            if str(error) != said:
                said = str(error)
                say(said)
        time.sleep(LOOK_SECONDS)


def _connect(engine: Engine) -> None:
    with reachable(engine), engine.connect():
        pass
