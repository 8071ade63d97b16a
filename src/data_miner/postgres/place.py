"""Where the data and the socket of one home folder lie: decided once, then recorded beside them."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from data_miner.errors import DatabaseError
from data_miner.postgres.account import Account
from data_miner.postgres.folders import durable_write, new_folder, private_root

LONGEST_SOCKET_BYTES = 100
SOCKET = ".s.PGSQL.5432"
SOCKET_LOCK = f"{SOCKET}.lock"
RECORD = "location"
OWNER = "home.txt"


@dataclass(frozen=True, slots=True)
class Place:
    """`data` belongs to the server's account; `sockets` has a short path and mode 0700."""

    data: Path
    sockets: Path


def locate(folder: Path, account: Account) -> Place:
    """The place of the server whose records lie in `folder`, made where it is missing.

    The caller holds the start lock. Raises DatabaseError when no place can be had.
    """
    recorded = read_record(folder)
    if recorded:
        _check_owner(recorded.data, folder)
    data = recorded.data if recorded else _choose_data(folder, account)
    if not account.can_enter(data.parent):
        raise DatabaseError(
            f"user id {account.uid}, who runs the server for root, cannot enter {data.parent}:"
            " open it and the folders above it with chmod o+x"
        )
    known = recorded.sockets if recorded and _serves(recorded) else None
    sockets = _socket_folder(known, account)
    place = Place(data, sockets)
    if place != recorded:
        # Relative inside the home, so that a home may be moved.
        inside = data.relative_to(folder) if data.is_relative_to(folder) else data
        fields = {"data": str(inside), "sockets": str(sockets)}
        durable_write(folder / RECORD, json.dumps(fields) + "\n")
    return place


def clear_sockets(place: Place, *, folder_too: bool = False) -> None:
    """Remove what a server left in its socket folder. The caller holds the start lock.

    PostgreSQL believes a lock file whose process id was given again, or is a zombie's.
    """
    (place.sockets / SOCKET).unlink(missing_ok=True)
    (place.sockets / SOCKET_LOCK).unlink(missing_ok=True)
    if folder_too:
        with suppress(OSError):
            place.sockets.rmdir()


def read_record(folder: Path) -> Place | None:
    """What `locate` decided before; None in a new home."""
    try:
        fields = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return Place(folder / fields["data"], Path(fields["sockets"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DatabaseError(
            f"{folder / RECORD} is damaged ({error!r}); restore it, or remove {folder}"
            " to start with an empty database"
        ) from None


def _choose_data(folder: Path, account: Account) -> Path:
    if account.can_enter(folder):
        return folder / "data"
    root = private_root()
    _remove_orphans(root, folder)
    outside = new_folder(root, "home-")
    durable_write(outside / OWNER, f"{folder}\n")
    outside.chmod(0o711)
    return outside / "data"


def _check_owner(data: Path, folder: Path) -> None:
    """A home may be moved; a copy of it must not write into the data of the original."""
    owner = data.parent / OWNER
    if data.is_relative_to(folder) or not owner.exists():
        return
    named = Path(owner.read_text(encoding="utf-8").removesuffix("\n"))
    if named == folder:
        return
    if named.exists():
        raise DatabaseError(
            f"{folder} is a copy of {named}, whose database is in {data.parent}: remove"
            f" {folder} to start with an empty one"
        )
    durable_write(owner, f"{folder}\n")


def _remove_orphans(root: Path, folder: Path) -> None:
    """Drop the data of an earlier home at this path: it was deleted, and its files with it."""
    for owner in root.glob(f"home-*/{OWNER}"):
        if owner.read_text(encoding="utf-8") == f"{folder}\n":
            shutil.rmtree(owner.parent)


def _socket_folder(recorded: Path | None, account: Account) -> Path:
    """The recorded folder if it still is what it was, so that known URLs stay true; else a new one.

    A socket's path may have about 100 bytes, so it cannot lie in the home. The name is random and
    the folder is made here: nobody can have put something else in its place.
    """
    if recorded and (_is_private(recorded, account) or _made_again(recorded, account)):
        return recorded
    for parent in dict.fromkeys([Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]):  # noqa: S108
        if not _is_good_parent(parent, account):
            continue
        with suppress(OSError):
            folder = new_folder(parent, "data-miner-")
            _give(folder, account)
            return folder
    raise DatabaseError(
        "no folder for the database's socket: /tmp must be writable, or TMPDIR a short path"
    )


def _serves(place: Place) -> bool:
    """False where the folder now serves other data: this home is a copy of one that is in use."""
    try:
        lines = (place.sockets / SOCKET_LOCK).read_text(encoding="utf-8").splitlines()
        return lines[1] == str(place.data)
    except (OSError, IndexError):
        return True


def _is_good_parent(parent: Path, account: Account) -> bool:
    longest = len(os.fsencode(parent / "data-miner-12345678" / SOCKET_LOCK))
    plain = re.fullmatch(r"[\w./+-]+", str(parent), re.ASCII)
    return bool(plain) and longest <= LONGEST_SOCKET_BYTES and account.can_enter(parent)


def _is_private(folder: Path, account: Account) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(status.st_mode) and status.st_uid == account.uid and not status.st_mode & 0o077
    )


def _made_again(folder: Path, account: Account) -> bool:
    try:
        folder.mkdir(mode=0o700)
        _give(folder, account)
    except OSError:
        return False
    return True


def _give(folder: Path, account: Account) -> None:
    if account.lent:
        os.chown(folder, account.uid, account.gid)
