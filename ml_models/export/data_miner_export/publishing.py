"""Publishing with patience: what was exported in an hour is not lost to a store that restarts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from data_miner_export.failing import may_pass
from data_miner_models.cards import ModelCard
from data_miner_models.errors import PassingError, StoreError
from data_miner_models.store import Progress, publish

PAUSES_S: Final = (2.0, 5.0, 15.0, 40.0, 60.0)
"""Before each further try; a new pod would begin with an empty scratch."""


def publish_patiently(
    card: ModelCard,
    files: Mapping[str, Path],
    uri: str,
    progress: Progress,
    say: Callable[[str], None],
    pauses_s: Sequence[float] = PAUSES_S,
) -> ModelCard:
    """As `publish`, again and again while the store gives no answer.

    Raises:
        PassingError: it gave none until the end.
        ModelError: it refuses, or the card could not be read again.
    """
    left = list(pauses_s)
    while True:
        try:
            return publish(card, files, uri, progress)
        except StoreError as error:
            if not may_pass(error):
                raise
            if not left:
                raise PassingError(str(error)) from error
            pause_s = left.pop(0)
            say(f"{error}; trying again in {pause_s:g} s")
            time.sleep(pause_s)
