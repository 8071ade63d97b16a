"""The image for GPUs, on a machine that may have none. Gigabytes: `make test-images LARGE=1`."""

from __future__ import annotations

import pytest

from support.images.catalogue import IMAGES
from support.images.container import Container, Open

pytestmark = pytest.mark.large
PYTHON = "/opt/data-miner/venv/bin/python"
ASK = """
import logging, sys
from data_miner_models.cards import load_card
from data_miner_models.errors import ModelError
from data_miner_models.runtime import open_session
import onnxruntime
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
card = load_card("tiny-siglip", [])
print(onnxruntime.get_available_providers()[-2:])
try:
    print(open_session(card, "image", provider=sys.argv[1]).device)
except ModelError as error:
    print("error:", error)
"""


@pytest.fixture
def worker(opened: Open) -> Container:
    """The image of the present sources."""
    return opened("worker-gpu")


def test_it_starts_where_there_is_no_gpu_and_says_so(worker: Container) -> None:
    """Its models run on the CPU, which the log names; who insists on a GPU gets one line."""
    done = worker.do("-c", ASK, "auto", entrypoint=[PYTHON])
    providers, *said = done.stdout.splitlines()
    assert providers == "['CUDAExecutionProvider', 'CPUExecutionProvider']", done.stderr
    assert said == ["model tiny-siglip: image runs on cpu", "cpu"]
    insisted = worker.do("-c", ASK, "cuda", entrypoint=[PYTHON]).stdout.splitlines()
    why = "libcuda.so.1: cannot open shared object file: No such file or directory"
    assert insisted[1:] == [
        f"error: a GPU was asked for, but CUDA does not start here ({why}); use provider cpu"
    ]


def test_only_the_driver_is_missing_in_it(worker: Container) -> None:
    """Every library that CUDA's provider and cuDNN name is found but the one of the node."""
    text = """
import os, pathlib, ctypes
for name in sorted(os.listdir("/opt/data-miner/venv/lib/cuda")):
    try:
        ctypes.CDLL(name)
    except OSError as error:
        print(error)
import onnxruntime
try:
    ctypes.CDLL(str(pathlib.Path(onnxruntime.__file__).with_name("capi")
                    / "libonnxruntime_providers_cuda.so"))
except OSError as error:
    print(error)
"""
    done = worker.do("-c", text, entrypoint=[PYTHON])
    assert set(done.stdout.splitlines()) == {
        "libcuda.so.1: cannot open shared object file: No such file or directory"
    }


def test_it_is_no_heavier_than_promised(worker: Container) -> None:
    """What a node downloads stays below the limit."""
    from support.images import building

    size, limit = building.compressed_bytes("worker-gpu") / 1e6, IMAGES["worker-gpu"].limit_mb
    print(f"worker-gpu: {size:.1f} MB of {limit} MB")  # noqa: T201  # for a person
    assert limit
    assert size <= limit
