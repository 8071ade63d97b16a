"""A frame's numbers never depend on its batch-mates, its place or the number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from data_miner_models.cards import ModelCard, load_card
from data_miner_models.image_encoder import ImageEncoder
from data_miner_models.open_detector import open_detector
from data_miner_models.runtime import open_session
from data_miner_models.text_encoder import TextEncoder

MEDIA = Path(__file__).parents[2] / "examples/demo/media"
THREADS = (1, 2, 4)
PROMPTS = ["a red star", "ring", "something striped", "a photo of a dotted yellow circle", "z" * 80]
CARDS = [load_card("tiny-siglip"), load_card("tiny-dino")]


def decode(file: str, step: int) -> Iterator[NDArray[np.uint8]]:
    with av.open(str(MEDIA / file)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % step == 0:
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


@pytest.fixture(scope="module")
def renders() -> NDArray[np.uint8]:
    """37 renders: frames of the demo clips, noise, black and white."""
    render = CARDS[0].preprocessing.render
    frames = [render(frame) for file in ("meadow.mp4", "market.mkv") for frame in decode(file, 50)]
    noise = np.random.default_rng(0).integers(0, 256, (15, *frames[0].shape), dtype=np.uint8)
    flat = [np.full_like(frames[0], level) for level in (0, 255)]
    return np.stack([*frames, *noise, *flat])


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_vector_is_the_same_in_any_batch(card: ModelCard, renders: NDArray[np.uint8]) -> None:
    """Alone, in batches of many sizes, at shuffled places, with 1, 2, 4 threads: the same bits."""
    encoders = [ImageEncoder(card, threads=threads, provider="cpu") for threads in THREADS]
    alone = np.concatenate([encoders[0](render[None]) for render in renders])
    assert len(np.unique(alone, axis=0)) > 30
    rng = np.random.default_rng(1)
    for encoder in encoders:
        for size in (1, 2, 3, 5, 7, 8, 9, 16, 31, 32, 33, 40, 65, 100):
            chosen = rng.integers(0, len(renders), size)
            assert np.array_equal(encoder(renders[chosen]), alone[chosen])


def test_the_graph_itself_ignores_the_batch(renders: NDArray[np.uint8]) -> None:
    """Without any padding too: every output of the image graph at unpadded batch sizes."""
    card = load_card("tiny-detector")
    alone: dict[str, NDArray[np.float32]] = {}
    for threads in THREADS:
        session = open_session(card, "image", threads=threads, provider="cpu")
        for size in (1, 2, 3, 4, 6, 11, 13, 17, 24, len(renders)):
            parts = [
                session.run(frames=renders[start : start + size])
                for start in range(0, len(renders), size)
            ]
            found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
            alone = alone or found
            for key, values in found.items():
                assert np.array_equal(values, alone[key]), (key, size, threads)


def test_a_prompt_is_the_same_among_any_others() -> None:
    """Prompts alone, together and reversed, with 1, 2, 4 threads: the same bits."""
    card = load_card("tiny-siglip")
    first = TextEncoder(card, threads=1, provider="cpu")
    alone = np.concatenate([first([prompt]) for prompt in PROMPTS])
    for threads in THREADS:
        encoder = TextEncoder(card, threads=threads, provider="cpu")
        assert np.array_equal(encoder(PROMPTS), alone)
        assert np.array_equal(encoder(PROMPTS[::-1]), alone[::-1])


def test_boxes_do_not_depend_on_threads_or_other_prompts() -> None:
    """A frame's boxes for a prompt are the same with more threads and among more prompts."""
    card = load_card("tiny-detector")
    frames = list(decode("harbour.webm", 60))
    wanted = ["a ring", "a diamond"]
    detectors = [open_detector(card, threads=threads, provider="cpu") for threads in THREADS]
    for frame in frames:
        expected = detectors[0](frame, wanted, 0.3)
        for detector in detectors:
            found = detector(frame, [*wanted, "a star", "a square"], 0.3)
            ours = found.labels < len(wanted)
            assert np.array_equal(found.boxes_xyxy[ours], expected.boxes_xyxy)
            assert np.array_equal(found.scores[ours], expected.scores)
            assert np.array_equal(found.labels[ours], expected.labels)
