"""What went wrong in a project, and what was left out, by its name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """Tasks of one stage that ended, or were put off, with one error class."""

    stage: str
    error_class: str
    count: int
    subject: str
    """One of them, the first by name."""
    error: str
    """What that one said, one line."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Work that there was nothing to do for, by the first word of the reason."""

    stage: str
    reason: str
    count: int
    subject: str
    """One of them, the first by name."""
    message: str
    """The whole reason of that one."""
