"""Compare the whole queue with what specs and facts call for."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, text

SWEEP = text("SELECT what, amount FROM sweep(:first_wave)")


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep changed; all zero and empty when nothing was missing."""

    settled: int
    """Tasks removed because their result was there already."""
    cancelled: int
    """Tasks removed because nobody wants them."""
    passed_on: int
    """Shared tasks that another project sponsors now."""
    waves: int
    """Waves opened."""
    planned: dict[str, int] = field(default_factory=dict)
    """New tasks by stage, apart from those that opening a wave made."""

    @property
    def changed(self) -> bool:
        """Whether anything was other than it should have been."""
        return bool(self.settled or self.cancelled or self.passed_on or self.waves or self.planned)


def sweep(connection: Connection, *, first_wave: int) -> Swept | None:
    """Settle, cancel, pass on, plan and admit everything; None while another session sweeps."""
    found: dict[str, int] = {
        row.what: row.amount for row in connection.execute(SWEEP, {"first_wave": first_wave})
    }
    if not found:
        return None
    return Swept(
        settled=found.pop("settled"),
        cancelled=found.pop("cancelled"),
        passed_on=found.pop("passed_on"),
        waves=found.pop("waves"),
        planned={stage: amount for stage, amount in found.items() if amount},
    )
