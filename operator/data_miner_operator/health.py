"""Whether the operator has started, is ready, and lives: what its probes ask.

Answered from a thread of its own, so that an event loop that is stuck is seen. None of it depends
on PostgreSQL: a restart would not bring a database back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from data_miner_operator import metrics

TICK_SECONDS: Final = 1.0
MAX_SILENCE_SECONDS: Final = 60.0
"""A loop that has not come to its ticker for so long does nothing else either."""
MAX_WORK_SECONDS: Final = 600.0
"""A key that is in hand for longer is never put down."""


@dataclass(slots=True)
class Health:
    """Facts that the parts leave here; each is one assignment, so threads may read them."""

    clock: Callable[[], float] = time.monotonic
    synced: bool = False
    """Everything has been listed once, and the watches have begun."""
    leading: bool = False
    stopping: bool = False
    watch_alive: bool = True
    longest_work_seconds: Callable[[], float] = field(default=lambda: 0.0)
    _ticked: float = 0.0

    def __post_init__(self) -> None:
        self._ticked = self.clock()

    async def tick(self) -> None:
        """Show that the loop turns, until cancelled."""
        while True:
            due = self.clock() + TICK_SECONDS
            await asyncio.sleep(TICK_SECONDS)
            self._ticked = self.clock()
            metrics.LOOP_LAG.set(max(0.0, self._ticked - due))

    def not_started(self) -> str | None:
        """Why it has not started yet; None when it has."""
        return None if self.synced else "the cluster has not been listed yet"

    def not_ready(self) -> str | None:
        """Why it is not ready; None when it is."""
        if self.stopping:
            return "stopping"
        return self.not_started()

    def not_alive(self) -> str | None:
        """Why it should be begun anew; None while all is well."""
        silence = self.clock() - self._ticked
        if silence > MAX_SILENCE_SECONDS:
            return f"the event loop has been stuck for {silence:.0f} s"
        if not self.watch_alive:
            return "nobody watches the cluster any more"
        longest = self.longest_work_seconds()
        if longest > MAX_WORK_SECONDS:
            return f"a project has been in hand for {longest:.0f} s"
        return None

    def routes(self) -> Mapping[str, Callable[[], tuple[bool, str]]]:
        """For `telemetry.serve`: each path with what it answers."""

        def ready() -> tuple[bool, str]:
            problem = self.not_ready()
            return problem is None, problem or ("leader" if self.leading else "standby")

        def route(problem: Callable[[], str | None]) -> Callable[[], tuple[bool, str]]:
            def answer() -> tuple[bool, str]:
                found = problem()
                return found is None, found or "ok"

            return answer

        return {
            "/startupz": route(self.not_started),
            "/readyz": ready,
            "/livez": route(self.not_alive),
        }
