"""Run a function in a forked process, also as another user, talk to it, and kill it.

Forked, not started anew: an unprivileged user may not be able to read the interpreter of whoever
runs the tests, but what is already loaded runs.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PATIENCE_SECONDS = 60.0
NOBODY = 65534


@dataclass
class Talk:
    """One side of a conversation of lines."""

    reading: int
    writing: int

    def say(self, line: str) -> None:
        """Send one line."""
        os.write(self.writing, line.encode() + b"\n")

    def hear(self) -> str:
        """The next line; raises AssertionError when none comes or the other side is gone."""
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.reading], [], [], PATIENCE_SECONDS)
            assert ready, "no word within the deadline"
            byte = os.read(self.reading, 1)
            assert byte, f"the other side is gone, after {line!r}"
            line += byte
        return line.decode().rstrip("\n")


@dataclass
class Child:
    """A forked process; `talk` reaches the function that runs in it."""

    pid: int
    talk: Talk
    report: int
    status: int | None = None

    def kill(self) -> None:
        """Kill it outright and bury it."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self._bury()

    def join(self) -> None:
        """Wait for its end; raises AssertionError with its traceback when it failed."""
        said = b""
        while True:
            ready, _, _ = select.select([self.report], [], [], PATIENCE_SECONDS)
            assert ready, "the process did not end within the deadline"
            part = os.read(self.report, 65536)
            if not part:
                break
            said += part
        self._bury()
        assert not said, said.decode(errors="replace")
        assert self.status == 0, f"ended with status {self.status}"

    def _bury(self) -> None:
        if self.status is None:
            self.status = os.waitpid(self.pid, 0)[1]


@contextmanager
def forked(function: Callable[[Talk], None], *, uid: int | None = None) -> Iterator[Child]:
    """Run `function` in a child, as `uid` where given; it does not outlive the block."""
    to_child, to_parent, report = os.pipe(), os.pipe(), os.pipe()
    with warnings.catch_warnings():
        # Forking beside threads is frowned upon; these children touch none of their locks.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        for descriptor in (to_child[1], to_parent[0], report[0]):
            os.close(descriptor)
        os._exit(_child(function, Talk(to_child[0], to_parent[1]), report[1], uid))
    for descriptor in (to_child[0], to_parent[1], report[1]):
        os.close(descriptor)
    child = Child(pid, Talk(to_parent[0], to_child[1]), report[0])
    try:
        yield child
    finally:
        child.kill()
        for descriptor in (to_parent[0], to_child[1], report[0]):
            os.close(descriptor)


def _child(function: Callable[[Talk], None], talk: Talk, report: int, uid: int | None) -> int:
    try:
        if uid is not None:
            os.setgroups([])
            os.setgid(pwd.getpwuid(uid).pw_gid)
            os.setuid(uid)
            os.environ["HOME"] = "/nonexistent"
        function(talk)
    except BaseException:  # noqa: BLE001  # whatever it is, the parent reports it
        os.write(report, traceback.format_exc().encode(errors="replace")[:60000])
        return 1
    return 0
