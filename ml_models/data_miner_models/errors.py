"""The errors of this package: one line each, saying what, where, and what was expected."""

from __future__ import annotations

from pathlib import Path


class ModelError(Exception):
    """A model cannot be used."""


class UnknownModelError(ModelError):
    """There is no model of this name where it was looked for."""


class DamagedError(ModelError):
    """A file of a model is not there, or not what its card says.

    Attributes:
        folder: where the card lies.
        path: the file.
    """

    def __init__(self, message: str, folder: Path, path: Path) -> None:
        super().__init__(message)
        self.folder = folder
        self.path = path


class StoreError(ModelError):
    """A store could not be asked, or not be written: nothing is known of its models.

    What it was made from is its cause.
    """


class NoRoomError(ModelError):
    """The cache has no room for a model now: others in it are in use."""


class TooLargeError(ModelError):
    """A model is larger than the cache may ever be."""


class PassingError(ModelError):
    """Nobody has said that the model is wrong: what failed may go well in a minute.

    What it was made from is its cause.
    """


class GoneError(PassingError):
    """What shall run a model does not start on this machine: another machine may do."""
