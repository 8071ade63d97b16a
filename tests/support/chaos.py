"""Runs of the demo project in which everything is killed once, at moments that a seed decides."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy.exc import DBAPIError

from support.controlplane import ControlPlane
from support.installation import Installation
from support.product import every
from support.waiting import eventually

VICTIMS: Final = ("leader", "worker", "api-server", "postgresql")
RESULTS: Final = 21
"""The demo project has more results than this in the end: a blow that waits for fewer
falls in the middle of the run."""
LONGEST_ABSENCE_SECONDS: Final = 6.0
POOL: Final[Mapping[str, Any]] = {
    # Grows at once, and goes to zero as soon as there is nothing left to do.
    "max_replicas": "2",
    "target_drain_seconds": "5",
    "idle_seconds": "1",
    "scale_down_stabilization_seconds": "1",
    "step_seconds": "1",
}


@dataclass(frozen=True, slots=True)
class Blow:
    """One `kill -9`."""

    victim: str
    at_results: int
    """It falls when the catalogue has so many results: moments do not depend on the machine."""
    away_seconds: float
    """How long the API server or PostgreSQL stays away; the others are started again at once."""

    def __str__(self) -> str:
        away = f"+{self.away_seconds:.1f}s" if self.victim in VICTIMS[2:] else ""
        return f"{self.victim}@{self.at_results}{away}"


def planned(seed: int) -> tuple[Blow, ...]:
    """One blow for each victim, in the order in which they fall."""
    chance = random.Random(seed)
    blows = [
        Blow(victim, chance.randrange(RESULTS), chance.uniform(0, LONGEST_ABSENCE_SECONDS))
        for victim in VICTIMS
    ]
    return tuple(sorted(blows, key=lambda blow: blow.at_results))


@dataclass(slots=True)
class Chaos:
    """One round on a fresh installation with two replicas and a PostgreSQL of its own."""

    installation: Installation
    plane: ControlPlane
    seed: int
    fallen: list[Blow] = field(default_factory=list)
    _returns: list[tuple[float, str]] = field(default_factory=list)

    def run(self) -> None:
        """Mine the demo project; returns when it is Complete and everybody is back."""
        installation = self.installation
        installation.pool(**POOL)
        installation.apply_demo()
        left = list(planned(self.seed))
        # What a kubelet does for the operator's pods.
        with every(0.2, self._revive):
            deadline = time.monotonic() + 240
            while left or self._returns:
                assert time.monotonic() < deadline, f"still to fall: {left}"
                self._bring_back()
                if left and self._results() >= left[0].at_results and self._strike(left[0]):
                    self.fallen.append(left.pop(0))
                time.sleep(0.02)
            installation.complete(seconds=240)

    def settled(self) -> None:
        """Return when nothing is left over: no work, no pod, a pool of none, somebody leading."""
        installation, cluster = self.installation, self.installation.cluster
        with every(0.2, self._revive):
            eventually(lambda: not installation.rows("SELECT 1 FROM tasks"), what="no task is left")
            cluster.wait(
                "Deployment", "all", lambda seen: seen is not None and not seen["spec"]["replicas"],
                seconds=60, what="the pool has gone to zero",
            )  # fmt: skip
            # A controller manager whose watches broke twice waits up to a minute before the next.
            eventually(lambda: not cluster.list("Pod"), seconds=150, what="no pod is left")
            eventually(lambda: installation.leader is not None, seconds=60, what="one leads")

    def line(self, seconds: float, digest: str, expected: str) -> str:
        """The round in one line of a log."""
        found = "ok" if digest == expected else digest or "none"
        blows = " ".join(str(blow) for blow in planned(self.seed))
        return f"seed={self.seed} {blows} seconds={seconds:.1f} digest={found}"

    def _strike(self, blow: Blow) -> bool:
        """False when there is nobody to strike at just now."""
        installation = self.installation
        match blow.victim:
            case "leader":
                leader = installation.leader
                if leader is None:
                    return False
                leader.kill()
            case "worker":
                pods = sorted(installation.node.pids("^all-"))
                if not pods:
                    return False
                pod = random.Random(self.seed).choice(pods)
                return bool(installation.node.kill(f"^{pod}$"))
            case "api-server":
                self.plane.kill("kube-apiserver")
                self._returns.append((time.monotonic() + blow.away_seconds, blow.victim))
            case "postgresql":
                installation.kill_database()
                self._returns.append((time.monotonic() + blow.away_seconds, blow.victim))
        return True

    def _bring_back(self) -> None:
        for due, victim in list(self._returns):
            if time.monotonic() >= due:
                self._returns.remove((due, victim))
                if victim == "postgresql":
                    self.installation.start_database()
                else:
                    self.plane.start("kube-apiserver")

    def _results(self) -> int:
        """As the catalogue says; -1 while it is away."""
        with suppress(DBAPIError):
            return self.installation.number("SELECT count(*) FROM results")
        return -1

    def _revive(self) -> None:
        for replica in self.installation.operators:
            if replica.ended is not None:
                replica.start(ready=False)
