"""Where TensorRT's engines lie: built once for a model on a kind of GPU, and whole or not at all.

ONNX Runtime writes them by itself, file by file, and refuses to start with a file that is half
there. So they are built in another folder, which gets its name when all of it is on the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

from data_miner_models.cards import HALF, Graph, ModelCard
from data_miner_models.cuda import Gpu
from data_miner_models.providers import Choice, profile

Started = TypeVar("Started")
_TIMINGS: Final = "*.timing"
"""What TensorRT has learnt about a GPU while it built: other models are built faster with it."""


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

    Raises OSError where the folder cannot be written.
    """
    if folder.is_dir():
        return start(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_name(f".{folder.name}.lock")):
        if folder.is_dir():
            return start(folder)
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
