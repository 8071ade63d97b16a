"""Stages for tests of the worker: what each one does is written in the URL of its video.

`https://x.test/<video id>?<behaviour>=<value>`; a behaviour belongs to `download` unless its name
begins with another stage's name and a dash. Nothing here sleeps for longer than it takes to notice
that it may go on.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from data_miner.stage import Context, Done, Later, Outcome, Skip, StageError
from data_miner.storage.store import named_failures

GATES = "DATA_MINER_TEST_GATES"
"""Folder in which a file opens the gate of its name."""
POLL_SECONDS = 0.02


class Discover:
    """Finds the videos that the URL list names, in its order."""

    name: ClassVar[str] = "discover"

    def run(self, context: Context) -> Outcome:
        (source,) = context.assignment.params["sources"]
        videos = [_video(rank, url) for rank, url in enumerate(source["urls"]["items"])]
        return Done(
            facts={"found": len(videos), "selected": len(videos)}, records={"videos": videos}
        )


class Download:
    """Publishes a small file that only depends on the video, after behaving as it is told."""

    name: ClassVar[str] = "download"

    def run(self, context: Context) -> Outcome:
        return _work(context, self.name)


class Extract:
    """Publishes another small file."""

    name: ClassVar[str] = "extract"

    def run(self, context: Context) -> Outcome:
        (fact,) = context.assignment.inputs["download"]
        context.fetch(fact.artifact("source"))
        return _work(context, self.name)


def _video(rank: int, url: str) -> dict[str, Any]:
    return {
        "video_id": Path(urlsplit(url).path).name,
        "url": url,
        "source_type": "URL",
        "source_info": None,
        "title": None,
        "metadata": {},
        "rank": rank,
        "query": None,
        "skip_reason": None,
    }


def _work(context: Context, stage: str) -> Outcome:
    video = context.assignment.video
    assert video is not None
    behaviour = {
        name.removeprefix(f"{stage}-"): value
        for name, value in parse_qsl(urlsplit(video.url).query)
        if name.startswith(f"{stage}-") or (stage == "download" and "-" not in name)
    }
    path = context.scratch / f"{stage}.bin"
    path.write_bytes(f"{stage} {video.video_id}".encode())
    early = context.publish(path, "source" if stage == "download" else "index")
    outcome = _behave(context, behaviour)
    if outcome is not None:
        return outcome
    digest = hashlib.sha256(video.video_id.encode()).hexdigest()
    if stage == "download":
        context.count("downloads")
    return Done(artifacts=(early,), facts={"frames": 1, "source_sha256": digest})


def _behave(context: Context, behaviour: Mapping[str, str]) -> Outcome | None:
    """Do what the video says; None when nothing stands against success."""
    for name, value in behaviour.items():
        if name in _HARM:
            _HARM[name](context, value)
        elif name == "later" and not context.assignment.checkpoint:
            context.checkpoint({"put_off": 1})
            return Later(float(value), "throttled: come back")
        elif name == "skip":
            return Skip(value)
    return None


def _fail(context: Context, times: str) -> None:
    if context.assignment.attempt < int(times):
        raise StageError("flaky", f"attempt {context.assignment.attempt} fails")


def _permanent(_context: Context, error_class: str) -> None:
    raise StageError(error_class, "nothing can help", permanent=True)


def _bug(_context: Context, where: str) -> None:
    raise RuntimeError(f"a bug\nin {where}")


def _unique(context: Context, _value: str) -> None:
    """Publish a file that no other run makes, and say nothing of it."""
    path = context.scratch / "unique.bin"
    path.write_bytes(f"{os.getpid()} {time.time_ns()}".encode())
    context.publish(path, "index")


def _full(_context: Context, gate: str) -> None:
    """Write to a device without room until the test opens the gate."""
    if not Path(os.environ[GATES], gate).exists():
        with named_failures("write"), Path("/dev/full").open("wb", buffering=0) as device:
            device.write(b"1")


def _until_open(context: Context, gate: str) -> None:
    folder = Path(os.environ[GATES])
    with (folder / f"{gate}.waiting").open("a") as file:
        file.write(f"{os.getpid()}\n")
    while not (folder / gate).exists():
        context.tick(0.5, f"at gate {gate}")
        time.sleep(POLL_SECONDS)


def _last(context: Context, seconds_and_gate: str) -> None:
    """Take so long, or until the gate is open ("0.5:hurry"), and note that this has begun."""
    seconds, _, gate = seconds_and_gate.partition(":")
    folder = Path(os.environ[GATES])
    with (folder / f"{gate}.begun").open("a") as file:
        file.write(f"{context.assignment.stage} {context.assignment.subject}\n")
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end and not (folder / gate).exists():
        context.tick(0.5, "at work")
        time.sleep(POLL_SECONDS)


def _eat(context: Context) -> None:
    eaten = []
    while True:
        eaten.append(b"\1" * (32 << 20))
        context.tick(message=f"ate {len(eaten)}")
        time.sleep(POLL_SECONDS)


def _start_grandchild(context: Context, gate: str) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        Path(os.environ[GATES], f"{gate}.grandchild").write_text(str(process.pid))
        _until_open(context, gate)
        process.kill()


_HARM: Mapping[str, Callable[[Context, str], object]] = {
    "gate": _until_open,
    "last": _last,
    "fail": _fail,
    "permanent": _permanent,
    "bug": _bug,
    "full": _full,
    "hang": lambda _context, _value: threading.Event().wait(),
    "segfault": lambda _context, _value: ctypes.string_at(0),
    "exit": lambda _context, status: os._exit(int(status)),
    "eat": lambda context, _value: _eat(context),
    "memoryerror": lambda _context, _value: bytearray(1 << 60),
    "grandchild": _start_grandchild,
    "unique": _unique,
    "count": lambda context, amount: context.count("requests", int(amount)),
}
