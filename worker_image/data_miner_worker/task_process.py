"""The worker's side of a task process: start it, talk with it, see it die, end it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from data_miner_worker.messages import Hello, Run, Stop
from data_miner_worker.usage import cpu_seconds_of


class TaskProcess:
    """One child process; it runs one task at a time and stays for the next one."""

    def __init__(self, hello: Hello, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        self.tasks_given = 0
        self.cpu_seconds_told = 0.0
        """Processor time that it has said its tasks used."""
        self.cpu_seconds: float = 0.0
        """Of its whole life, once it has ended by a signal or by itself in the middle of a run."""
        self.last_stage: str | None = None
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "data_miner_worker.child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=dict(environment),
                process_group=0,  # what the stage starts can be ended together with it
            )
        self._connection: Connection[Any, Any] = Connection(ours.detach())
        self._send(hello)

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        """Readable when a message waits, and when the process has ended."""
        return self._connection.fileno()

    def give(self, run: Run) -> None:
        """Hand over a task."""
        self.tasks_given += 1
        self.last_stage = run.assignment.stage
        self._send(run)

    def stop(self) -> None:
        """Ask it to end its run at the next tick, and then itself."""
        self._send(Stop())

    def messages(self) -> list[Any]:
        """What it has said since the last call, in order. Raises EOFError when it has ended."""
        said: list[Any] = []
        try:
            while self._connection.poll():
                said.append(self._connection.recv())
        except (EOFError, OSError):
            if not said:
                raise EOFError from None
        return said

    def end(self) -> int:
        """Kill it with all that it started, unless it has ended; its return code (-N: signal N)."""
        if self._process.returncode is None:
            # What has ended by itself keeps its own code.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            self.cpu_seconds = cpu_seconds_of(self._process.pid)
        self._connection.close()
        return self._process.wait()

    def _send(self, message: object) -> None:
        # A process that has just died is met when its pipe is read, not here.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send(message)
