"""The server's process: is it alive, start it, stop it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_miner.errors import DatabaseError
from data_miner.postgres.account import Account, explain
from data_miner.postgres.place import Place, clear_sockets
from data_miner.postgres.programs import Programs

POLL_SECONDS = 0.02
START_SECONDS = 120.0
"""Longest wait for a start; after a loss of power the server replays its log first."""
FAST_STOP_SECONDS = 30.0
NO_PROCESS = 2**22 + 1
"""More than any process id that Linux gives."""
LOG_BYTES = 10_000_000
"""A log longer than this is set aside at the next start."""

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": "5432",  # names the socket; nothing listens on a port
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_parallel_workers_per_gather": "0",  # containers have 64 MB of /dev/shm
    "jit": "off",  # compiling costs more than these queries take
    "fsync": "on",
    "autovacuum": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "logging_collector": "off",
}


@dataclass(frozen=True, slots=True)
class PidFile:
    """What `postmaster.pid` says; `status` is `starting`, `ready`, `stopping` or empty."""

    pid: int
    status: str


def read_pid_file(data: Path) -> PidFile | None:
    """None when there is none, or when a crash left half of one."""
    try:
        lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
        status = lines[7].strip() if len(lines) > 7 else ""
        return PidFile(int(lines[0]), status)
    except (FileNotFoundError, IndexError, ValueError):
        return None


def running(data: Path) -> PidFile | None:
    """The server of this data folder, or None: a dead or recycled process id is not one."""
    file = read_pid_file(data)
    return file if file and _is_postmaster(file.pid, data) else None


def start(
    place: Place, programs: Programs, account: Account, *, log: Path, settings: Mapping[str, str]
) -> None:
    """Start the server and return when it takes connections. The caller holds the start lock.

    Raises DatabaseError with the server's own reason.
    """
    data = place.data
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))
    _disown_pid_file(data)
    clear_sockets(place)
    merged = {**SETTINGS, **settings, "unix_socket_directories": str(place.sockets)}
    command: list[str | Path] = [programs.postgres, "-D", data]
    command += [part for name, value in merged.items() for part in ("-c", f"{name}={value}")]
    deadline = time.monotonic() + FAST_STOP_SECONDS
    while (reason := _try_start(data, command, account, log)) is not None:
        # Sessions of a killed server end by themselves, a moment after it.
        if "shared memory block" not in reason or time.monotonic() > deadline:
            raise DatabaseError(explain(f"PostgreSQL does not start (see {log})", reason))
        time.sleep(POLL_SECONDS)


def _try_start(
    data: Path, command: Sequence[str | Path], account: Account, log: Path
) -> str | None:
    """None when the server takes connections, else what it wrote before it ended."""
    already = log.stat().st_size if log.exists() else 0
    pid = account.spawn_detached(command, log)

    def settled() -> bool:
        file = read_pid_file(data)
        return bool(file and file.pid == pid and file.status == "ready") or not _exists(pid)

    if not _wait(settled, START_SECONDS):
        raise DatabaseError(f"PostgreSQL is not ready after {START_SECONDS:.0f} s; see {log}")
    if running(data):
        return None
    with log.open("rb") as file:
        file.seek(already)
        return file.read().decode(errors="replace")


def stop(data: Path) -> None:
    """Stop the server if it runs and return when it is gone. The caller holds the start lock.

    Sessions that still are open are ended; what they did not commit is rolled back.
    """
    file = running(data)
    if not file:
        return
    for number, patience in ((signal.SIGINT, FAST_STOP_SECONDS), (signal.SIGQUIT, 10.0)):
        try:
            os.kill(file.pid, number)
        except ProcessLookupError:
            return
        if _wait(lambda: not _exists(file.pid), patience):
            return
    raise DatabaseError(f"PostgreSQL (process {file.pid}) does not stop; its data is in {data}")


def _disown_pid_file(data: Path) -> None:
    """Take the process id out of what a killed server left, and leave the rest.

    PostgreSQL believes any living process of that id. The rest names the shared memory by which it
    sees for itself whether sessions of the killed server still write.
    """
    path = data / "postmaster.pid"
    if read_pid_file(data) is None:
        path.unlink(missing_ok=True)
        return
    lines = path.read_text(errors="replace").splitlines(keepends=True)
    path.write_text("".join([f"{NO_PROCESS}\n", *lines[1:]]))


def _is_postmaster(pid: int, data: Path) -> bool:
    """A server works in its data folder, so its working directory tells it from a stranger."""
    if not _exists(pid):
        return False
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data)
    except FileNotFoundError:
        # Gone in between, or a system without /proc, where the process id has to be believed.
        return not Path("/proc/self").exists()
    except PermissionError:
        return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # The state follows the name, which is in brackets and may hold anything. Z is a zombie:
        # in a container without an init nobody buries it.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2][1] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self").exists()


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
