"""What is asked of CUDA's and TensorRT's own libraries, where they are."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

_CAPABILITY: Final = (75, 76)
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""
_RUNTIMES: Final = ("libcudart.so.13", "libcudart.so.12")
_NVINFER: Final = "libnvinfer.so.10"


@dataclass(frozen=True)
class Gpu:
    """The first GPU that this process may use.

    Attributes:
        capability: its compute capability, such as ``9.0``.
    """

    name: str
    capability: str


def first_gpu() -> Gpu | None:
    """None where there is no driver, or no GPU below it."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, name, part = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    if driver.cuDeviceGetName(name, len(name), device):
        return None
    parts = []
    for attribute in _CAPABILITY:
        if driver.cuDeviceGetAttribute(ctypes.byref(part), attribute, device):
            return None
        parts.append(str(part.value))
    return Gpu(name.value.decode(errors="replace"), ".".join(parts))


def tensorrt_version() -> str:
    """That of the TensorRT which this process loads; OSError, with the reason, where it loads none.

    The packages of TensorRT bring its libraries to a place that no loader searches, and load them
    when they are imported.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("tensorrt_libs")
    return str(ctypes.CDLL(_NVINFER).getInferLibVersion())


def page_locked(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any] | None:
    """Memory that a GPU reads by itself; None where there is no more, or no CUDA in this process.

    ONNX Runtime gives such memory to Python only after its CUDA library was registered a second
    time as a plugin, which replaces the allocators of the whole process. So CUDA is asked.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    runtime = _loaded_runtime()
    address = ctypes.c_void_p()
    if (
        size == 0
        or runtime is None
        or runtime.cudaHostAlloc(ctypes.byref(address), ctypes.c_size_t(size), 0)
    ):
        return None
    assert address.value is not None
    block = (ctypes.c_uint8 * size).from_address(address.value)
    # At the end of the process CUDA may be gone before this memory.
    weakref.finalize(block, runtime.cudaFreeHost, address).atexit = False
    memory: NDArray[np.uint8] = np.frombuffer(memoryview(block).cast("B"), np.uint8)
    return memory.view(dtype).reshape(shape)


def _loaded_runtime() -> ctypes.CDLL | None:
    """The one that ONNX Runtime has loaded: another one would be another CUDA."""
    for name in _RUNTIMES:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name, mode=os.RTLD_NOW | os.RTLD_NOLOAD)
    return None
