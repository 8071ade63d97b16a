"""Whoever keeps house does its duties, and lets the others come back first."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Connection

from data_miner_worker import housekeeping
from data_miner_worker.housekeeping import Housekeeper
from support.worker import Site, eventually


@dataclass
class Duty:
    """Counts how often it is done."""

    name: str
    after_outage_seconds: float
    every_seconds: float = 0.02
    done: list[float] = field(default_factory=list)

    def run(self, conn: Connection) -> None:
        """Do it."""
        self.done.append(time.monotonic())

    def given_up(self) -> None:
        """Nothing to forget."""


def test_a_machine_that_slept_lets_the_living_extend_their_leases_first(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of day has leapt, and all leases with it: what waits after an outage waits now."""
    patient, prompt = Duty("patient", 3600), Duty("prompt", 0)
    keeper = Housekeeper(here.engine, (patient, prompt), 77, idle_seconds=5)
    keeper.start()
    try:
        eventually(lambda: len(patient.done) > 2 and len(prompt.done) > 2)
        # Three leaps: one that falls between two waits is seen by nobody.
        leaps = iter((1000, 2000, 3000))
        monkeypatch.setattr(housekeeping, "time_of_day", lambda: time.time() + next(leaps, 3000))
        seen = len(prompt.done)
        eventually(lambda: len(prompt.done) > seen + 3)
        before = len(patient.done)
        seen = len(prompt.done)
        eventually(lambda: len(prompt.done) > seen + 10)
        assert len(patient.done) == before
    finally:
        keeper.stop(5)
