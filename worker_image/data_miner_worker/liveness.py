"""Whether the claim loop goes round: the only thing that liveness may depend on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

LIMIT_SECONDS = 90.0
"""Longer than any statement or connection attempt may take."""


@dataclass(slots=True)
class Liveness:
    """`beat` from the loop; `problem` from the thread that answers probes."""

    limit_seconds: float = LIMIT_SECONDS
    _last: float = field(default_factory=time.monotonic)

    def beat(self) -> None:
        """The loop has come round."""
        self._last = time.monotonic()

    def problem(self) -> str | None:
        """None while the loop goes round; a database that is away is no problem of this process."""
        still = time.monotonic() - self._last
        return (
            f"the claim loop stands still for {still:.0f} s" if still > self.limit_seconds else None
        )
