"""The server of one home folder: whoever needs it joins it, and the last one to leave stops it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import quote

from data_miner.errors import DatabaseError
from data_miner.postgres import postmaster
from data_miner.postgres.account import Account, current_account
from data_miner.postgres.cluster import DATABASE, SUPERUSER, prepare_data
from data_miner.postgres.place import Place, clear_sockets, locate, read_record
from data_miner.postgres.programs import find_programs


@contextlib.contextmanager
def embedded(home: Path) -> Iterator[str]:
    """Start or join the server of `home`; yields its SQLAlchemy URL (psycopg2, a Unix socket).

    Raises DatabaseError in one line when it cannot be had.
    """
    with Server(home) as server:
        yield server.url


class Server:
    """One process's share in the server of a home folder; a context manager.

    Any number of processes may hold one at once. Shares and starts are file locks, so a process
    that was killed holds nothing; a server that it left alone is joined, and stopped, by the next.
    """

    def __init__(self, home: Path, *, settings: Mapping[str, str] | None = None) -> None:
        """`settings` are PostgreSQL's, used by the process that starts the server."""
        self._folder = home.expanduser().absolute() / "postgres"
        self._settings = dict(settings or {})
        self._share: IO[bytes] | None = None
        self._place: Place | None = None

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the database; valid while this share is held."""
        if self._place is None:
            raise DatabaseError(f"the database in {self._folder} has not been started")
        sockets = quote(str(self._place.sockets), safe="")
        return f"postgresql+psycopg2://{SUPERUSER}@/{DATABASE}?host={sockets}"

    def __enter__(self) -> Self:
        account = current_account()
        _prepare_folder(self._folder, account)
        with self._start_lock():
            share = (self._folder / "users.lock").open("ab")
            try:
                fcntl.flock(share, fcntl.LOCK_SH)
                self._place = self._start_if_down(account)
            except BaseException:
                share.close()
                raise
            self._share = share
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        share, self._share = self._share, None
        if share is None or self._place is None:
            return
        with share, self._start_lock():
            fcntl.flock(share, fcntl.LOCK_UN)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(share, fcntl.LOCK_EX | fcntl.LOCK_NB)
                postmaster.stop(self._place.data)
                clear_sockets(self._place, folder_too=True)

    def ensure(self) -> None:
        """Start the server again if it died in the middle; its URL stays the same."""
        account = current_account()
        with self._start_lock():
            self._place = self._start_if_down(account)

    def process_id(self) -> int | None:
        """The server's process id; None when it does not run."""
        place = read_record(self._folder)
        file = postmaster.running(place.data) if place else None
        return file.pid if file else None

    def _start_if_down(self, account: Account) -> Place:
        try:
            place = read_record(self._folder)
            if place and postmaster.running(place.data):
                return place
            place = locate(self._folder, account)
            try:
                self._start(place, account)
            except BaseException:
                if not postmaster.running(place.data):
                    clear_sockets(place, folder_too=True)
                raise
        except OSError as error:
            raise _unusable(self._folder, error) from None
        return place

    def _start(self, place: Place, account: Account) -> None:
        programs = find_programs(account)
        prepare_data(
            place.data, programs, account, durable=self._settings.get("fsync", "on") != "off"
        )
        log = self._folder / "server.log"
        postmaster.start(place, programs, account, log=log, settings=self._settings)

    @contextlib.contextmanager
    def _start_lock(self) -> Iterator[None]:
        try:
            file = (self._folder / "start.lock").open("ab")
        except OSError as error:
            raise _unusable(self._folder, error) from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _prepare_folder(folder: Path, account: Account) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        owner = folder.stat().st_uid
        if owner != os.geteuid():
            raise DatabaseError(
                f"{folder} belongs to user id {owner}: run as that user, or choose another --home"
            )
        # A lent account has to pass through to its data, and to nothing else.
        folder.chmod(0o711 if account.lent else 0o700)
    except OSError as error:
        raise _unusable(folder, error) from None


def _unusable(folder: Path, error: OSError) -> DatabaseError:
    where = f"{error.filename}: " if error.filename else ""
    return DatabaseError(
        f"the database in {folder} cannot be used: {where}{error.strerror}; mend that, or choose"
        " another --home"
    )
