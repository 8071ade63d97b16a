"""Room on disks and the work of GPUs are asked for at each scrape."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from data_miner.telemetry import DISK_BYTES, GPU_MEMORY_BYTES, GPU_UTILIZATION, WORKER_REGISTRY
from data_miner_worker.machine import places, watch_disks, watch_gpus


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No other test asks about these disks and GPUs."""
    yield
    for family in (DISK_BYTES, GPU_MEMORY_BYTES, GPU_UTILIZATION):
        family.clear()


def told(name: str, **labels: str) -> float | None:
    return WORKER_REGISTRY.get_sample_value(name, labels)


def test_the_room_where_a_worker_writes_is_told(tmp_path: Path) -> None:
    """Also of a folder that is not made yet; as the system sees it for this user."""
    watch_disks({"scratch": tmp_path, "store": tmp_path / "not" / "yet"})

    free = told("dataminer_disk_bytes", place="scratch", kind="free")
    size = told("dataminer_disk_bytes", place="store", kind="size")
    known = os.statvfs(tmp_path)
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    assert size == known.f_blocks * known.f_frsize


def test_a_store_in_a_bucket_has_no_room_to_tell_of() -> None:
    assert places(Path("/s"), "s3://bucket/x") == {"scratch": Path("/s")}
    assert places(Path("/s"), "file:///v/store")["store"] == Path("/v/store")


def test_a_disk_that_cannot_be_asked_does_not_break_the_scrape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch_disks({"scratch": tmp_path})

    def gone(_: object) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "statvfs", gone)
    free = told("dataminer_disk_bytes", place="scratch", kind="free")
    assert free is not None
    assert math.isnan(free)


def test_without_a_driver_there_is_no_gpu_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", no_driver)
    assert watch_gpus() == 0
    assert told("dataminer_gpu_utilization_ratio", gpu="0") is None


def test_each_gpu_tells_its_work_and_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As shares and bytes. The driver's answers are given: no GPU is needed for the arithmetic."""
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(
        pynvml, "nvmlDeviceGetUtilizationRates", lambda h: SimpleNamespace(gpu=40 + h)
    )
    monkeypatch.setattr(
        pynvml, "nvmlDeviceGetMemoryInfo", lambda h: SimpleNamespace(used=h * 1024, total=4096)
    )

    assert watch_gpus() == 2
    assert told("dataminer_gpu_utilization_ratio", gpu="1") == 0.41
    assert told("dataminer_gpu_memory_bytes", gpu="1", kind="used") == 1024
    assert told("dataminer_gpu_memory_bytes", gpu="0", kind="total") == 4096
