"""TensorRT's engines are kept whole, or not at all; nothing here needs TensorRT."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from data_miner_models.cards import ModelCard, load_card
from data_miner_models.cuda import Gpu
from data_miner_models.engines import engine_folder, engine_options, with_engines
from data_miner_models.providers import Choice, choices

GPU = Gpu("NVIDIA H100 80GB HBM3", "9.0")
VERSIONS = {"tensorrt": "101300", "onnxruntime": "1.31.1"}
CARD = load_card("tiny-siglip")


def choice(card: ModelCard = CARD, role: str = "image") -> Choice:
    (chosen,) = choices("tensorrt", ("TensorrtExecutionProvider",), card, role)
    return chosen


def write(folder: Path) -> str:
    """What ONNX Runtime does where there is nothing."""
    (folder / "graph.engine").write_bytes(b"engine")
    (folder / "sm90.timing").write_bytes(b"learnt")
    return "built"


def read(folder: Path) -> str:
    assert (folder / "graph.engine").read_bytes() == b"engine"
    return "loaded"


def test_the_folder_says_what_the_engines_are_for(tmp_path: Path) -> None:
    """For a person who wonders what takes the room."""
    folder = engine_folder(tmp_path, CARD, choice(), GPU, VERSIONS)
    assert folder.parent.name == "NVIDIA-H100-80GB-HBM3-9.0-onnxruntime-1.31.1-tensorrt-101300"
    assert folder.name == f"tiny-siglip-{CARD.digest[:16]}-image-32"


def test_whatever_decides_an_engine_decides_its_folder(tmp_path: Path) -> None:
    """Model, graph, precision, bucket, GPU and both versions."""
    half = replace(CARD, files={**CARD.files, "image-fp16": CARD.files["image"]})
    folders = {
        engine_folder(tmp_path, card, choice(card, role), gpu, versions)
        for card, role, gpu, versions in [
            (CARD, "image", GPU, VERSIONS),
            (CARD, "text", GPU, VERSIONS),
            (replace(CARD, max_batch=4), "image", GPU, VERSIONS),
            (half, "image", GPU, VERSIONS),
            (load_card("tiny-dino"), "image", GPU, VERSIONS),
            (CARD, "image", Gpu("NVIDIA H200", "9.0"), VERSIONS),
            (CARD, "image", Gpu(GPU.name, "10.0"), VERSIONS),
            (CARD, "image", GPU, VERSIONS | {"tensorrt": "101400"}),
            (CARD, "image", GPU, VERSIONS | {"onnxruntime": "1.32.0"}),
        ]
    }
    assert len(folders) == 9


def test_half_precision_is_allowed_only_for_graphs_that_are_in_it(tmp_path: Path) -> None:
    """TensorRT would round a graph in single precision by itself."""
    half = replace(CARD, files={**CARD.files, "image-fp16": CARD.files["image"]})
    graph = CARD.graphs["image"]
    single = engine_options(choice(), graph, tmp_path)
    assert single["trt_fp16_enable"] == "0"
    assert engine_options(choice(half), graph, tmp_path)["trt_fp16_enable"] == "1"
    assert single["trt_engine_cache_path"] == str(tmp_path)
    shapes = {single[f"trt_profile_{which}_shapes"] for which in ("min", "opt", "max")}
    assert shapes == {"frames:32x72x128x3"}


def test_engines_are_built_once(tmp_path: Path) -> None:
    """And lie where they are looked for."""
    folder = tmp_path / "gpu" / "model"
    assert with_engines(folder, write) == "built"
    assert with_engines(folder, read) == "loaded"


def test_a_build_that_fails_leaves_no_engines(tmp_path: Path) -> None:
    """The next one begins anew, without what the first one wrote."""
    folder = tmp_path / "gpu" / "model"

    def fail(at: Path) -> str:
        (at / "graph.engine").write_bytes(b"hal")
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError):
        with_engines(folder, fail)
    assert not folder.exists()

    def look(at: Path) -> str:
        assert not list(at.glob("*.engine"))
        return write(at)

    assert with_engines(folder, look) == "built"


def test_what_was_learnt_of_the_gpu_helps_the_next_model(tmp_path: Path) -> None:
    """It is there when the next one is built, and the better one stays."""
    with_engines(tmp_path / "gpu" / "first", write)

    def more(at: Path) -> str:
        assert (at / "sm90.timing").read_bytes() == b"learnt"
        (at / "sm90.timing").write_bytes(b"learnt more")
        return "built"

    with_engines(tmp_path / "gpu" / "second", more)
    assert (tmp_path / "gpu" / "sm90.timing").read_bytes() == b"learnt more"


def test_engines_that_nobody_has_loaded_for_a_month_go_with_the_next_build(tmp_path: Path) -> None:
    """For any GPU; those that are being loaded stay, and so does what is not old."""
    old, used, held = (tmp_path / "gpu" / name for name in ("old", "used", "held"))
    long_ago = time.time() - 31 * 86400
    for folder in (old, used, held):
        with_engines(folder, write)
    for folder in (old, used, held):
        os.utime(folder, (long_ago, long_ago))
    with_engines(used, read)

    def load_slowly(at: Path) -> str:
        os.utime(at, (long_ago, long_ago))
        with_engines(tmp_path / "another" / "new", write)
        return read(at)

    assert with_engines(held, load_slowly) == "loaded"
    assert {path.name for path in tmp_path.glob("*/*/")} == {"used", "held", "new"}


def _build(folder: Path, count: Path, begun: Path | None = None) -> None:
    def start(at: Path) -> None:
        if (at / "graph.engine").exists():
            read(at)
            return
        with count.open("a") as stream:
            stream.write("x")
        (at / "graph.engine").write_bytes(b"eng")
        if begun:
            begun.touch()
            signal.pause()
        (at / "graph.engine").write_bytes(b"engine")

    with_engines(folder, start)


def _wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def _waits_for_a_lock(pid: int | None) -> bool:
    waiting = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(words[1] == "->" and str(pid) in words for words in waiting)


def test_a_killed_build_is_done_anew_by_one_that_waits(tmp_path: Path) -> None:
    """Nothing half is ever loaded, and of several processes one builds."""
    folder, count, begun = tmp_path / "gpu" / "model", tmp_path / "count", tmp_path / "begun"
    spawn = multiprocessing.get_context("spawn")
    first = spawn.Process(target=_build, args=(folder, count, begun), daemon=True)
    first.start()
    _wait_until(begun.exists)
    others = [spawn.Process(target=_build, args=(folder, count), daemon=True) for _ in range(2)]
    for each in others:
        each.start()
    _wait_until(lambda: all(_waits_for_a_lock(each.pid) for each in others))
    assert not folder.exists()
    assert first.pid
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    for each in others:
        each.join(60)
        assert each.exitcode == 0
    assert count.read_text() == "xx"
    assert read(folder) == "loaded"


def test_a_place_that_cannot_be_written_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """The runtime says it in a line."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        with_engines(tmp_path / "file" / "gpu" / "model", write)
