"""What a store can do, whatever is behind it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from data_miner.stage import Artifact, StageError
from data_miner.storage.away import is_away

Referenced = Callable[[Collection[str]], Collection[str]]
"""Asked with SHA-256 digests, answers those that some row names."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says when a disk, or a user's share of it, is full."""
NOBODYS_FAILURE = frozenset({"disk_full", "provider_gone", "store_unreachable"})
"""Error classes of what the next task would meet too, here: put off, without an attempt."""
SWEEP_BATCH = 500
"""How many digests the sweeper asks about at once."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed."""

    objects: int = 0
    temporary: int = 0
    bytes: int = 0

    def __add__(self, other: Swept) -> Swept:
        return Swept(
            self.objects + other.objects,
            self.temporary + other.temporary,
            self.bytes + other.bytes,
        )


class Store(Protocol):
    """Immutable objects named by their content, and a small first-wins cache beside them."""

    uri: str

    def publish(self, path: Path, kind: str, media: Mapping[str, Any] | None = None) -> Artifact:
        """Store a file under its content's name, durably; what is there already is reused.

        Nobody may write to the file afterwards: a local store may have linked it.
        Raises StageError: ``disk_full``, ``store_unreachable``, ``storage``.
        """

    def fetch(self, artifact: Artifact, into: Path) -> Path:
        """A local file with the artifact's content, not to be written to.

        `into` is a folder of the caller's: a store that is not local puts the file there.
        Raises StageError: ``input_missing``, ``input_corrupt``, and as `publish`.
        """

    def cached(self, key: str, into: Path) -> Path | None:
        """The file that was remembered under a key; None when there is none."""

    def remember(self, key: str, path: Path, into: Path) -> Path:
        """Keep a file under a key unless there is one; the one that is there: the first wins."""

    def sweep(self, referenced: Referenced, *, older_than_seconds: float) -> Swept:
        """Remove objects that no row names, and files that never got their name, of that age.

        The age must be longer than any task takes between publishing and being recorded.
        """


@contextmanager
def named_failures(what: str, *, missing: str = "storage") -> Iterator[None]:
    """Turn a system error into a StageError; `missing` is the class of "no such file"."""
    try:
        yield
    except OSError as error:
        raise _unreachable(error, what) or failure(error, what, missing) from error


def failure(error: OSError, what: str, missing: str) -> StageError:
    """The StageError for an operating system's error: one line with what was tried."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in NO_ROOM:
        return StageError("disk_full", f"{what}: {reason}; make room, then the task runs again")
    name = missing if isinstance(error, FileNotFoundError) else "storage"
    return StageError(name, f"{what}: {reason}")


@contextmanager
def any_failure(what: str, *, missing: str = "storage") -> Iterator[None]:
    """Every failure of a bucket is a StageError with one line: credentials, names, networks."""
    try:
        yield
    except StageError:
        raise
    except OSError as error:
        raise _unreachable(error, what) or failure(error, what, missing) from error
    except Exception as error:  # client libraries raise types of their own
        named = StageError("storage", f"{what}: {type(error).__name__}: {_first_line(error)}")
        raise _unreachable(error, what) or named from error


def _unreachable(error: Exception, what: str) -> StageError | None:
    if not is_away(error):
        return None
    reason = _first_line(error) or type(error).__name__
    return StageError("store_unreachable", f"{what}: {reason}; the task runs again")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
