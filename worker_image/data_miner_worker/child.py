"""A task process: runs stages one after the other and tells its worker how each one ended.

Started as ``python -m data_miner_worker.child <file descriptor>``, a fresh interpreter: libraries
with threads of their own (ONNX Runtime, CUDA) do not survive a fork. It leads a process group and
ends with that whole group when its worker is gone.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, Final, NoReturn

from data_miner import telemetry
from data_miner.outside import printable, shown
from data_miner.stage import Done, Later, Outcome, Skip, StageError, StopRequested
from data_miner.storage import open_store
from data_miner.storage.store import NO_ROOM
from data_miner_worker.about import about
from data_miner_worker.context import TaskContext
from data_miner_worker.lookup import find_stage
from data_miner_worker.messages import Begun, Ended, Failure, Hello, Run, Stop, Stopped
from data_miner_worker.parent import signal_when_parent_ends
from data_miner_worker.share import SHARE
from data_miner_worker.steps import Steps
from data_miner_worker.usage import Meter


class _Pipe:
    """The pipe to the worker: one thread listens, any thread may send."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self.inbox: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self.stopped = threading.Event()
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: object) -> None:
        with self._sending:
            self._connection.send(message)

    def listen(self) -> None:
        """Pass on what comes; end the process group when nobody is there any more."""
        try:
            while True:
                message = self._connection.recv()
                if isinstance(message, Stop):
                    self.stopped.set()
                    self.inbox.put(None)
                else:
                    self.inbox.put(message)
        except (EOFError, OSError):
            end_group()


def run_task(run: Run, context: TaskContext, find: Callable[[str], Any] = find_stage) -> Any:
    """The stage's outcome, or the Failure that names why there is none."""
    assignment = run.assignment
    log = telemetry.logger()
    try:
        return _checked(find(assignment.stage).run(context))
    except StopRequested:
        return Stopped()
    except StageError as error:
        return Failure(error.error_class, _one_line(error), permanent=error.permanent)
    except MemoryError as error:
        return Failure("out_of_memory", f"memory ran out inside the stage: {_one_line(error)}")
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return Failure("disk_full", f"{error.filename or 'scratch'}: {_one_line(error)}")
        log.exception("stage_failed_unexpectedly")
        return Failure("unexpected", f"{type(error).__name__}: {_one_line(error)}")


def _checked(outcome: Outcome) -> Outcome:
    """The outcome, if it is one, as the database can hold it. Raises TypeError, ValueError."""
    if isinstance(outcome, Skip | Later):
        return replace(outcome, reason=shown(outcome.reason))
    if isinstance(outcome, Done):
        json.dumps([dict(outcome.facts), dict(outcome.records)], allow_nan=False)
        json.dumps([dict(artifact.media) for artifact in outcome.artifacts], allow_nan=False)
        return replace(outcome, facts=_kept(outcome.facts), records=_kept(outcome.records))
    raise TypeError(f"a stage returned {type(outcome).__name__}, not Done, Skip or Later")


_ADDRESSES: Final = frozenset({"url", "uri"})
_WORDS: Final = frozenset({"error", "reason", "skip_reason"})


def _kept(value: Any, name: str = "") -> Any:
    """What a site or a file says may hold anything; an address must stay what it is."""
    if isinstance(value, str):
        return value if name in _ADDRESSES else (shown if name in _WORDS else printable)(value)
    if isinstance(value, Mapping):
        return {key: _kept(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_kept(item, name) for item in value]
    return value


def _one_line(error: BaseException) -> str:
    return shown(" ".join(str(error).split()))[:500] or type(error).__name__


def end_group() -> NoReturn:
    """End this process and all that it started, now."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(1)


def die_with_worker() -> None:
    """Have the kernel say when the worker is gone, in case the listening thread cannot run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: end_group())
    signal_when_parent_ends(signal.SIGTERM)


def main(descriptor: int) -> None:
    """Be a task process of the worker at the other end of the pipe."""
    die_with_worker()
    connection: Connection[Any, Any] = Connection(descriptor)
    hello: Hello = connection.recv()
    telemetry.configure_logging(stream=sys.stdout)
    telemetry.route_libraries("data_miner_models")
    SHARE.threads, SHARE.engines = hello.threads, hello.settings.home / "engines"
    pipe = _Pipe(connection)
    threading.Thread(target=pipe.listen, name="pipe", daemon=True).start()
    serve(pipe, hello)


def serve(pipe: _Pipe, hello: Hello) -> None:
    """Run one task after the other until the worker wants no more."""
    context: TaskContext | None = None
    meter = Meter()

    def alive() -> None:
        if context is not None:
            context.alive()

    SHARE.alive = alive
    store = open_store(hello.settings.storage, scratch=hello.scratch, alive=alive)
    while (run := pipe.inbox.get()) is not None:
        pipe.send(Begun())
        telemetry.always_say(about(run.assignment, run.trace_id))
        context, steps = None, Steps(wanted=run.traced)
        meter.begin()
        try:
            context = TaskContext(
                run.assignment,
                scratch=run.scratch,
                store=store,
                settings=hello.settings,
                send=pipe.send,
                stopped=pipe.stopped,
                steps=steps,
            )
            with steps.step("run") as told:
                result = run_task(run, context)
                if steps.left_out:
                    told["dataminer.steps_left_out"] = steps.left_out
        except OSError as error:
            name = "disk_full" if error.errno in NO_ROOM else "storage"
            result = Failure(name, f"scratch folder {run.scratch}: {_one_line(error)}")
        shutil.rmtree(run.scratch, ignore_errors=True)
        counters = dict(context.counters) if context else {}
        missing = tuple(context.missing) if context else ()
        pipe.send(Ended(result, meter.read(), counters, missing, steps.told))


if __name__ == "__main__":
    main(int(sys.argv[1]))
