"""Errors that a person reads: one line saying what happened, where, and what to do.

Every one carries the exit code that the command line returns (docs/cli.md lists them).
An error that is none of these is a defect and keeps its traceback.
"""

from __future__ import annotations

from typing import ClassVar


class DataMinerError(Exception):
    """Something that the user, or whoever runs the system, can mend."""

    exit_code: ClassVar[int] = 1


class SpecError(DataMinerError):
    """The MiningProject says something that cannot be."""

    exit_code = 2


class NotFoundError(DataMinerError):
    """A name was given that nothing here has."""

    exit_code = 2


class StalledError(DataMinerError):
    """The project cannot get any further by itself."""

    exit_code = 3


class DatabaseError(DataMinerError):
    """PostgreSQL cannot be reached, or its schema has another revision."""

    exit_code = 4


class SchemaError(DatabaseError):
    """PostgreSQL answers, and its schema is not one that this program can work on."""


class StorageError(DataMinerError):
    """A file cannot be read or written: missing, denied, or the disk is full."""

    exit_code = 5


class ConflictError(DataMinerError):
    """Somebody else is using what was asked for."""

    exit_code = 7


class LeaseLostError(Exception):
    """This worker no longer owns the task: whatever it did for it must not be recorded."""
