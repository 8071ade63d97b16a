"""What a scrape reads of the machine below a worker: room on its disks, and its GPUs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from data_miner import telemetry
from data_miner.storage.pointer import folder_of

Subject = TypeVar("Subject")

log = telemetry.logger()


def watch_disks(places: Mapping[str, Path]) -> None:
    """Have every scrape tell how much room there is; what cannot be asked then is told as NaN."""
    for place, folder in places.items():
        telemetry.DISK_BYTES.labels(place, "free").set_function(_asked(_free, folder))
        telemetry.DISK_BYTES.labels(place, "size").set_function(_asked(_size, folder))


def places(scratch: Path, storage_uri: str) -> dict[str, Path]:
    """The folders to watch; a store in a bucket has no size."""
    store = folder_of(storage_uri)
    return {"scratch": scratch} | ({"store": store} if store is not None else {})


def watch_gpus() -> int:
    """Have every scrape ask NVML about each GPU; how many there are, 0 where there is no NVML."""
    try:
        import pynvml  # noqa: PLC0415 - only workers with a GPU have it

        pynvml.nvmlInit()
        handles = [
            pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())
        ]
    except ImportError:
        return 0
    except pynvml.NVMLError as error:
        log.debug("no_gpu_to_watch", error=str(error))
        return 0
    for index, handle in enumerate(handles):
        gpu = str(index)
        rates = _asked(lambda h: pynvml.nvmlDeviceGetUtilizationRates(h).gpu / 100, handle)
        used = _asked(lambda h: float(pynvml.nvmlDeviceGetMemoryInfo(h).used), handle)
        total = _asked(lambda h: float(pynvml.nvmlDeviceGetMemoryInfo(h).total), handle)
        telemetry.GPU_UTILIZATION.labels(gpu).set_function(rates)
        telemetry.GPU_MEMORY_BYTES.labels(gpu, "used").set_function(used)
        telemetry.GPU_MEMORY_BYTES.labels(gpu, "total").set_function(total)
    return len(handles)


def _free(folder: Path) -> float:
    found = os.statvfs(_there(folder))
    return float(found.f_bavail * found.f_frsize)


def _size(folder: Path) -> float:
    found = os.statvfs(_there(folder))
    return float(found.f_blocks * found.f_frsize)


def _there(folder: Path) -> Path:
    """The folder, or the nearest one above it while it is not made yet."""
    return next((each for each in (folder, *folder.parents) if each.exists()), folder)


def _asked(ask: Callable[[Subject], float], subject: Subject) -> Callable[[], float]:
    def answer() -> float:
        try:
            return ask(subject)
        except Exception:  # noqa: BLE001 - whatever a driver raises
            # A disk or a driver that is gone must not take the other metrics along.
            return math.nan

    return answer
