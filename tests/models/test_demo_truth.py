"""The demo models on the decoded demo clips, against the generator's truth."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from data_miner_models.cards import load_card
from data_miner_models.detector import Detector
from data_miner_models.image_encoder import ImageEncoder
from data_miner_models.open_detector import open_detector
from data_miner_models.scoring import probabilities
from data_miner_models.text_encoder import TextEncoder

DEMO = Path(__file__).parents[2] / "examples/demo"
THRESHOLD, NEAR, MIN_SCORE = 0.5, 0.90, 0.3
HALF_HIDDEN, MOSTLY_HIDDEN = 50, 35
EVERY_FRAMES = (12, 25)
SHAPES_WANTED = (("star", "ring"), ("square", "circle"))


@dataclass(frozen=True)
class Sample:
    """A decoded frame and its truth; a box is thing, x0, y0, x1, y1, visible percent."""

    clip: str
    frame: int
    pixels: NDArray[np.uint8]
    group: str
    things: list[dict[str, Any]]
    boxes: list[list[int]]


def read_samples() -> list[Sample]:
    truth = json.loads((DEMO / "truth.json").read_text(encoding="utf-8"))
    samples = []
    for clip in truth["clips"]:
        path = DEMO / "media" / clip["file"]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                scene = clip["scenes"][number // 50]
                assert scene["first"] <= number <= scene["last"]
                if any(number % every == 0 for every in EVERY_FRAMES):
                    pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                    boxes = scene["boxes"][number - scene["first"]]
                    samples.append(
                        Sample(digest, number, pixels, scene["group"], scene["things"], boxes)
                    )
    # The order in which near-duplicates are judged: by the clip's content, then by frame.
    return sorted(samples, key=lambda sample: (sample.clip, sample.frame))


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Frames at every 12th and 25th place of every clip."""
    return read_samples()


@pytest.fixture(scope="module")
def dedup_vectors(samples: list[Sample]) -> NDArray[np.float64]:
    card = load_card("tiny-dino")
    renders = np.stack([card.preprocessing.render(sample.pixels) for sample in samples])
    return ImageEncoder(card, provider="cpu")(renders).astype(np.float64)


@pytest.fixture(scope="module")
def image_vectors(samples: list[Sample]) -> NDArray[np.float64]:
    card = load_card("tiny-siglip")
    renders = np.stack([card.preprocessing.render(sample.pixels) for sample in samples])
    return ImageEncoder(card, provider="cpu")(renders).astype(np.float64)


def is_wanted(sample: Sample, shapes: tuple[str, ...]) -> bool:
    visible = {box[0]: box[5] for box in sample.boxes}
    return any(
        thing["main"] and thing["shape"] in shapes and visible.get(index, 0) >= HALF_HIDDEN
        for index, thing in enumerate(sample.things)
    )


def keep(image_vectors: NDArray[np.float64], shapes: tuple[str, ...]) -> NDArray[np.bool_]:
    card = load_card("tiny-siglip")
    assert card.scoring is not None
    prompts = TextEncoder(card, provider="cpu")([f"a photo of a {shape}" for shape in shapes])
    found = probabilities(
        image_vectors @ prompts.T.astype(np.float64), card.scoring.scale, card.scoring.bias
    )
    return np.asarray(found.max(axis=1) > THRESHOLD, np.bool_)


def first_of_each(vectors: NDArray[np.float64]) -> list[int]:
    """Keep a frame iff no kept one before it is near."""
    kept: list[int] = []
    for index, vector in enumerate(vectors):
        if not np.any(vectors[kept] @ vector >= NEAR):
            kept.append(index)
    return kept


def test_the_clips_are_what_the_demo_needs() -> None:
    """Three codecs in three containers, a minute in all, and one without a frame count."""
    facts = {}
    for path in sorted((DEMO / "media").iterdir()):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = sum(1 for _ in container.decode(video=0))
            facts[path.name] = (stream.codec.canonical_name, stream.frames, frames)
    assert facts == {
        "harbour.webm": ("vp9", 0, 550),
        "market.mkv": ("av1", 0, 500),
        "meadow.mp4": ("h264", 500, 500),
    }


@pytest.mark.parametrize("shapes", SHAPES_WANTED)
def test_prompts_find_the_right_frames(
    samples: list[Sample], image_vectors: NDArray[np.float64], shapes: tuple[str, ...]
) -> None:
    """F1 of the kept frames is at least 0.95, for either set of prompts."""
    kept = keep(image_vectors, shapes)
    truth = np.array([is_wanted(sample, shapes) for sample in samples])
    hits = int((kept & truth).sum())
    assert truth.sum() >= 20
    assert 2 * hits / (2 * hits + int((kept ^ truth).sum())) >= 0.95


@pytest.mark.parametrize("every", EVERY_FRAMES)
def test_every_planted_group_leaves_one_image(
    samples: list[Sample], dedup_vectors: NDArray[np.float64], every: int
) -> None:
    """Repeats within and across clips, darker ones too, leave one frame a group and no other."""
    chosen = [i for i, sample in enumerate(samples) if sample.frame % every == 0]
    kept = first_of_each(dedup_vectors[chosen])
    groups = [samples[chosen[k]].group for k in kept]
    assert sorted(groups) == sorted({samples[i].group for i in chosen})


@pytest.mark.parametrize("shapes", SHAPES_WANTED)
def test_the_detector_finds_the_boxes(samples: list[Sample], shapes: tuple[str, ...]) -> None:
    """AP50 by pycocotools is at least 0.9 on frames that show something wanted."""
    shown = [sample for sample in samples if is_wanted(sample, shapes)]
    detector = open_detector(load_card("tiny-detector"), provider="cpu")
    prompts = [f"a {shape}" for shape in shapes]
    assert measure_ap50(detector, shown, shapes, prompts) >= 0.9


def measure_ap50(
    detector: Detector, shown: list[Sample], shapes: tuple[str, ...], prompts: list[str]
) -> float:
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, sample in enumerate(shown, start=1):
        for thing, x0, y0, x1, y1, visible in sample.boxes:
            if sample.things[thing]["shape"] in shapes:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": shapes.index(sample.things[thing]["shape"]) + 1,
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": (x1 - x0) * (y1 - y0),
                        "iscrowd": int(visible < MOSTLY_HIDDEN),
                    }
                )
        found = detector(sample.pixels, prompts, MIN_SCORE)
        for (x0, y0, x1, y1), score, label in zip(
            found.boxes_xyxy.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
        ):
            results.append(
                {
                    "image_id": image,
                    "category_id": label + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "score": score,
                }
            )
    assert results
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": image} for image in range(1, len(shown) + 1)],
            "categories": [{"id": k} for k in range(1, len(shapes) + 1)],
            "annotations": annotations,
        }
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return float(judge.stats[1])
