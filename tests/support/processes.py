"""Child processes that never outlive whoever runs the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO

_LAUNCHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit(0)
os.execvp(sys.argv[2], sys.argv[2:])
"""
# The kernel's promise counts from the thread that forked, not from its process: one thread that
# lives as long as this process starts all of them.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")


def launcher() -> list[str]:
    """What to put before a command so that the kernel kills it when this process ends.

    Only for a command that is started from a thread which lives long enough; `start` sees to that.
    """
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path | IO[bytes] | int,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own; both its streams go to `log`, which is appended to.

    It is killed when this process ends, however that happens.
    """
    return _starter.submit(_start, command, environment, log, folder).result()


def _start(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path | IO[bytes] | int,
    folder: Path | None,
) -> subprocess.Popen[bytes]:
    stream = log.open("ab") if isinstance(log, Path) else log
    try:
        return subprocess.Popen(
            [*launcher(), *command],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    finally:
        if isinstance(log, Path) and not isinstance(stream, int):
            stream.close()


def tree(pid: int) -> list[int]:
    """A process and everything below it, itself first, as far as it is there."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def signal_tree(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process and to everything below it; who is gone is left out.

    To kill, the whole is stopped first: nothing slips away between the look and the blow.
    """
    if number == signal.SIGKILL:
        _each(tree(pid), signal.SIGSTOP)
    _each(tree(pid), number)


def _each(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def end(process: subprocess.Popen[bytes], *, grace_seconds: float = 0.0) -> int:
    """End a process with all that it started: SIGTERM, then after the grace SIGKILL.

    Returns its exit status, -N for signal N; without grace there is only the kill.
    """
    if process.poll() is None and grace_seconds > 0:
        signal_tree(process.pid, signal.SIGCONT)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            return process.wait(grace_seconds)
    if process.poll() is None:
        signal_tree(process.pid, signal.SIGKILL)
    return process.wait(30)
