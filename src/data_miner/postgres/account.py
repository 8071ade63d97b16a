"""Who runs the server. PostgreSQL refuses to run as root, so root lends it another account."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_miner.errors import DatabaseError, SpecError

NOBODY = 65534
VARIABLE = "DATA_MINER_PG_UID"
OWN_SERVER = "or set DATA_MINER_DATABASE_URL to a PostgreSQL of your own"


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group ids of the server's processes and of its files."""

    uid: int
    gid: int
    lent: bool
    """True where root runs the program and the server runs as somebody else."""

    def run(self, command: Sequence[str | Path], *, stdin: str = "") -> str:
        """Run a program of PostgreSQL as this account and return what it printed.

        Raises DatabaseError with the last line that it wrote to stderr.
        """
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                cwd="/",
                env=environment(),
                user=self._user,
                group=self._group,
                extra_groups=self._extra_groups,
                umask=0o077,
            )
        except OSError as error:
            raise self._cannot_start(command[0], error) from None
        if done.returncode:
            raise DatabaseError(explain(Path(command[0]).name, done.stderr or done.stdout))
        return done.stdout

    def spawn_detached(self, command: Sequence[str | Path], log: Path) -> int:
        """Start a program in a session of its own, nobody's child, and return its process id.

        A shell in between starts it and leaves: whoever asked for the server may die, and a
        Ctrl-C in its terminal does not reach the server. `log` receives stdout and stderr.
        """
        shell = ["/bin/sh", "-c", '"$@" </dev/null >&2 & echo $!', "sh", *map(str, command)]
        try:
            with log.open("ab") as output:
                os.fchmod(output.fileno(), 0o600)  # errors quote statements and their values
                done = subprocess.run(
                    shell,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    check=True,
                    start_new_session=True,
                    cwd="/",
                    env=environment(),
                    user=self._user,
                    group=self._group,
                    extra_groups=self._extra_groups,
                    umask=0o077,
                )
        except OSError as error:
            raise self._cannot_start(command[0], error) from None
        return int(done.stdout)

    @property
    def _user(self) -> int | None:
        return self.uid if self.lent else None

    @property
    def _group(self) -> int | None:
        return self.gid if self.lent else None

    @property
    def _extra_groups(self) -> list[int | str] | None:
        return [] if self.lent else None

    def can_reach(self, path: Path) -> bool:
        """Whether this account may read the file `path` and enter every folder above it.

        Permission bits decide; where only an access list grants it, the answer is no, which
        costs a copy and never a failure.
        """
        if not self.lent:
            return True
        path = path.resolve()
        return self._allows(path.stat(), 0o4) and self.can_enter(path.parent)

    def can_enter(self, folder: Path) -> bool:
        """Whether this account may pass through `folder` and every folder above it."""
        if not self.lent:
            return True
        folder = folder.resolve()
        return all(self._allows(each.stat(), 0o1) for each in (folder, *folder.parents))

    def _allows(self, status: os.stat_result, wanted: int) -> bool:
        if status.st_uid == self.uid:
            return status.st_mode >> 6 & wanted == wanted
        if status.st_gid == self.gid:
            return status.st_mode >> 3 & wanted == wanted
        return status.st_mode & wanted == wanted

    def _cannot_start(self, program: str | Path, error: OSError) -> DatabaseError:
        who = f" as user id {self.uid}" if self.lent else ""
        return DatabaseError(
            f"cannot run {program}{who}: {error.strerror}; run data-miner as an ordinary user,"
            f" {OWN_SERVER}"
        )


def current_account() -> Account:
    """Whoever runs this process; for root, ``DATA_MINER_PG_UID`` or nobody.

    Raises DatabaseError when that user id has no name: PostgreSQL will not create a database then.
    """
    lent = os.geteuid() == 0
    uid = _lent_uid() if lent else os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise DatabaseError(
            f"user id {uid} has no name in /etc/passwd and PostgreSQL needs one: add it,"
            f" {OWN_SERVER}"
        ) from None
    return Account(uid, entry.pw_gid if lent else os.getegid(), lent)


def _lent_uid() -> int:
    text = os.environ.get(VARIABLE, str(NOBODY))
    if not text.isdecimal() or int(text) == 0:
        raise SpecError(f"{VARIABLE}={text!r}: expected the id of a user who is not root")
    return int(text)


def environment() -> dict[str, str]:
    """Nothing of the caller's: a PGDATA or an LC_ALL of theirs must not change the server."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def explain(program: str, output: str) -> str:
    """One line out of what a program of PostgreSQL wrote, with what to do where that is known."""
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return f"{program}: the disk is full; free some space and start again"
    if "could not create shared memory segment" in output or "Cannot allocate memory" in output:
        return f"{program}: not enough memory; 200 MB are needed"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "error:" in line or "PANIC" in line]
    return f"{program}: {(telling or lines or ['it failed without a word'])[-1]}"
