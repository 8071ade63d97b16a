"""The bundled models on a GPU: as on a CPU but for rounding, and as without fixed places.

They are in single precision, which runs without TensorFloat-32.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from data_miner_models import bench, cuda, golden
from data_miner_models.cards import ModelCard, load_card
from data_miner_models.engines import engine_folder
from data_miner_models.image_encoder import ImageEncoder
from data_miner_models.providers import choices
from data_miner_models.runtime import Session, open_session
from data_miner_models.text_encoder import TextEncoder
from data_miner_models.use import MODEL_USE

NAMES = ("tiny-siglip", "tiny-dino", "tiny-detector")
ENCODERS = [load_card("tiny-siglip"), load_card("tiny-dino")]
PROMPTS = ["a red star", "ring", "something striped", "z" * 80]


def noise(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 72, 128, 3), dtype=np.uint8)


def gap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """1 - cosine of the rows that differ most."""
    wide, own = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=-1) * np.linalg.norm(own, axis=-1)
    return float(np.max(1 - (wide * own).sum(axis=-1) / lengths))


@pytest.mark.parametrize("card", ENCODERS, ids=lambda card: card.name)
def test_vectors_are_those_of_a_cpu_but_for_rounding(card: ModelCard) -> None:
    """1 - cosine of at most 1e-6."""
    frames = noise(70)
    there = ImageEncoder(card, provider="cuda")
    assert (there.choice.device, there.choice.precision) == ("cuda", "single")
    found = gap(there(frames), ImageEncoder(card, provider="cpu")(frames))
    print(f"{card.name}: 1 - cosine {found:.2g}")  # noqa: T201  # a figure to write down
    assert found <= 1e-6


def test_prompts_are_those_of_a_cpu_but_for_rounding() -> None:
    """As pictures are."""
    card = load_card("tiny-siglip")
    there, here = (TextEncoder(card, provider=each)(PROMPTS) for each in ("cuda", "cpu"))
    assert gap(there, here) <= 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_a_model_says_there_what_it_says_on_a_cpu(name: str) -> None:
    """What `models verify --provider cuda` does: boxes and scores too."""
    where, *said = golden.verify_golden(load_card(name), "cuda")
    print(name, where, *said)  # noqa: T201  # figures to write down
    assert where == "on cuda"
    assert said


@pytest.mark.parametrize("card", ENCODERS, ids=lambda card: card.name)
def test_a_vector_is_the_same_in_any_batch(card: ModelCard) -> None:
    """Alone, among others, at another place, in another session: the same bits."""
    frames = noise(40)
    encoder = ImageEncoder(card, provider="cuda")
    alone = np.concatenate([encoder(frame[None]) for frame in frames])
    rng = np.random.default_rng(1)
    for again in (encoder, ImageEncoder(card, provider="cuda")):
        for size in (2, 31, 32, 33, 40):
            chosen = rng.permutation(len(frames))[:size]
            assert np.array_equal(again(frames[chosen]), alone[chosen]), size


def plain(session: Session, frames: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """The same session, without fixed places."""
    return replace(session, _bound=None).run(frames=frames)


@pytest.mark.parametrize("name", NAMES)
def test_fixed_places_give_the_bits_of_a_plain_run(name: str) -> None:
    """And what one run gave is not touched by the next."""
    session = open_session(load_card(name), "image", provider="cuda")
    first = session.run(frames=noise(8, 1))
    kept = {role: value.copy() for role, value in first.items()}
    second = session.run(frames=noise(8, 2))
    for role, value in kept.items():
        assert np.array_equal(first[role], value)
        assert not np.array_equal(second[role], value)
        assert np.array_equal(plain(session, noise(8, 1))[role], value)
        assert np.array_equal(plain(session, noise(8, 2))[role], second[role])


def test_inputs_wait_in_memory_that_the_gpu_reads_by_itself() -> None:
    """It is page-locked, can be written like any other, and goes when nobody holds it."""
    open_session(load_card("tiny-dino"), "image", provider="cuda")
    memory = cuda.page_locked((32, 72, 128, 3), "uint8")
    assert memory is not None
    memory[:] = noise(32)
    there = ort.OrtValue.ortvalue_from_shape_and_type([32, 72, 128, 3], np.uint8, "cuda")
    there.update_inplace(memory)
    assert np.array_equal(there.numpy(), noise(32))
    wide = cuda.page_locked((2, 16), "int64")
    assert wide is not None
    assert (wide.dtype.name, wide.shape) == ("int64", (2, 16))


def test_time_on_the_gpu_is_counted() -> None:
    """For the costs of a result."""
    MODEL_USE.take()
    session = open_session(load_card("tiny-dino"), "image", provider="cuda")
    session.run(frames=noise(32))
    use = MODEL_USE.take()
    assert use.gpu_seconds > 0
    assert [device for device, _ in use.loads] == ["cuda"]
    assert use.runs == {32: 1}


def test_automatic_is_the_gpu() -> None:
    """And a speed is measured with as many pictures at once as workers run."""
    _, (speed,) = bench.measure(load_card("tiny-dino"), seconds=0.2)
    print(f"{speed.per_second:.0f} a second")  # noqa: T201  # a figure to write down
    assert (speed.provider, speed.batch, speed.share) == ("cuda", 32, None)


def test_the_gpu_has_a_name() -> None:
    """By which engines of TensorRT are kept apart."""
    gpu = cuda.first_gpu()
    assert gpu is not None
    assert gpu.name
    major, minor = gpu.capability.split(".")
    assert int(major) >= 5
    assert minor.isdigit()
    print(gpu)  # noqa: T201  # to write down beside the figures


def test_tensorrt_keeps_its_engines_where_it_is_installed(tmp_path: Path) -> None:
    """Built at the first start and loaded at the second, with nothing half beside them."""
    try:
        version = cuda.tensorrt_version()
    except OSError as error:
        pytest.skip(f"TensorRT is not installed: {error}")
    card = load_card("tiny-dino")
    frames = noise(40)
    here = ImageEncoder(card, provider="cpu")(frames)
    gpu = cuda.first_gpu()
    assert gpu is not None
    (choice,) = choices("tensorrt", ("TensorrtExecutionProvider",), card, "image")
    versions = {"tensorrt": version, "onnxruntime": ort.__version__}
    folder = engine_folder(tmp_path, card, choice, gpu, versions)
    for _ in range(2):
        encoder = ImageEncoder(card, provider="tensorrt", engines=tmp_path)
        assert gap(encoder(frames), here) <= golden.MAX_COSINE_GAP["half"]
        assert list(folder.glob("*.engine"))
        assert not list(folder.parent.glob(".*.building"))
        stamps = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert stamps == {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
