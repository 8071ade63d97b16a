"""Where TensorRT's engines lie: built once for a model on a kind of GPU, and whole or not at all.

ONNX Runtime writes them by itself, file by file, and refuses to start with a file that is half
there. So they are built in another folder, which gets its name when all of it is on the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from data_miner_models.cards import HALF, Graph, ModelCard
from data_miner_models.cuda import Gpu
from data_miner_models.providers import Choice, profile

Started = TypeVar("Started")
_TIMINGS: Final = "*.timing"
"""What TensorRT has learnt about a GPU while it built: other models are built faster with it."""
_KEPT_SECONDS: Final = 30 * 86400
"""Engines for a model, a GPU or a version that are no more are loaded by nobody."""


def engine_folder(
    root: Path, card: ModelCard, choice: Choice, gpu: Gpu, versions: Mapping[str, str]
) -> Path:
    """Another GPU, another version of what builds, other bytes or another bucket: another folder.

    Args:
        versions: of TensorRT and ONNX Runtime, by name.
    """
    kind = "-".join([gpu.name, gpu.capability, *(f"{k}-{v}" for k, v in sorted(versions.items()))])
    (bucket,) = choice.buckets
    name = f"{card.name}-{card.digest[:16]}-{choice.file}-{bucket}"
    return root / re.sub(r"[^A-Za-z0-9.]+", "-", kind) / name


def engine_options(choice: Choice, graph: Graph, folder: Path) -> dict[str, str]:
    """Options of ONNX Runtime that build into this folder, or load what is there."""
    shapes = profile(choice, graph)
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_fp16_enable": "1" if choice.file.endswith(HALF) else "0",
        "trt_profile_min_shapes": shapes,
        "trt_profile_opt_shapes": shapes,
        "trt_profile_max_shapes": shapes,
    }


def with_engines(folder: Path, start: Callable[[Path], Started]) -> Started:
    """`start(folder)` when engines are there; else `start` builds them, once on this machine.

    Who builds removes what nobody has loaded for a month, for any model or GPU.
    Raises OSError where the folder cannot be written.
    """
    with _held(folder) as is_there:
        if is_there:
            return start(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_name(f".{folder.name}.lock")):
        with _held(folder) as is_there:
            if is_there:
                return start(folder)
        _remove_unused(folder.parent.parent)
        building = folder.with_name(f".{folder.name}.building")
        # One whose process was killed: nobody else builds while this one holds the lock.
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        for timing in folder.parent.glob(_TIMINGS):
            shutil.copy(timing, building)
        started = start(building)
        for file in building.iterdir():
            _sync(file)
        for timing in building.glob(_TIMINGS):
            timing.replace(folder.parent / timing.name)
        _sync(building)
        building.rename(folder)
        _sync(folder.parent)
        return started


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Whether engines are there. If so, this is a use of them, and they stay meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        with contextlib.suppress(OSError):  # engines that somebody else keeps up
            os.utime(folder)
        yield folder.is_dir()
    finally:
        os.close(descriptor)


def _remove_unused(root: Path) -> None:
    before = time.time() - _KEPT_SECONDS
    for folder in root.glob("*/*/"):
        with contextlib.suppress(OSError):  # in use, or removed by another process
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_mtime < before:
                    # In one step: what is half there would be taken for engines.
                    gone = folder.with_name(f".gone-{secrets.token_hex(6)}")
                    folder.rename(gone)
                    shutil.rmtree(gone)
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process holds this lock; it goes with the process."""
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
