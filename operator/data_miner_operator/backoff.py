"""How long to wait after failures in a row: doubling, capped, with jitter."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    first_seconds: float = 0.5
    most_seconds: float = 300.0
    jitter: float = 0.2
    """Share of the wait that chance may take off."""
    chance: Callable[[], float] = random.random
    """A number in [0, 1)."""

    def seconds(self, failures: int) -> float:
        """The wait after this many failures in a row, the first being 1."""
        # The exponent is bounded before the power is taken: 2**10000 is no float.
        wait = min(self.first_seconds * 2.0 ** min(failures - 1, 60), self.most_seconds)
        return wait * (1 - self.jitter * self.chance())
