"""Held-out figures through the product's own runtime: python -m demo.evaluate OUT.

Reads the bundle in OUT/bundle, writes OUT/metrics.json. Thresholds are fixed beforehand (0.5 for
prompts, 0.85 and 0.90 for near-duplicates), not chosen on these frames. The five frames of a scene
resemble each other, and two codecs share their scenes: there are fewer independent samples than
frames.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_miner_models.cards import load_card
from data_miner_models.detector import Detector
from data_miner_models.image_encoder import ImageEncoder
from data_miner_models.open_detector import open_detector
from data_miner_models.scoring import probabilities
from data_miner_models.text_encoder import TextEncoder
from demo.average_precision import average_precision
from demo.held_out import Judged, draw_sets
from demo.pool import shrink
from demo.vocabulary import Look, phrase

SCENES = 100
THRESHOLD = 0.5
HALF_HIDDEN = 0.5
FAMILIES = {
    "colour_shape": [Look(c, s) for c, s in itertools.product(range(8), range(8))],
    "texture_shape": [Look(shape=s, texture=t) for s, t in itertools.product(range(8), (1, 2))],
    "all_three": [Look(*each) for each in itertools.product(range(8), range(8), range(3))],
    "shape": [Look(shape=s) for s in range(8)],
    "colour": [Look(colour=c) for c in range(8)],
}
Figures = dict[str, float]


def evaluate(out: Path, scenes: int = SCENES) -> None:
    """Measure the three models of OUT/bundle and write OUT/metrics.json."""
    stores = [out / "bundle"]
    siglip = load_card("tiny-siglip", stores)
    assert siglip.scoring is not None
    images = ImageEncoder(siglip, threads=2, provider="cpu")
    dedup = ImageEncoder(load_card("tiny-dino", stores), threads=2, provider="cpu")
    detector = open_detector(load_card("tiny-detector", stores), threads=2, provider="cpu")
    texts = TextEncoder(siglip, provider="cpu")
    prompts = {
        family: texts([phrase(look) for look in looks]) for family, looks in FAMILIES.items()
    }
    filtered, detected, vectors = Figures(), Figures(), {}
    for codec, frames in draw_sets(scenes):
        renders = np.stack([shrink(frame.pixels) for frame in frames])
        encoded = images(renders)
        vectors[codec] = (dedup(renders), frames)
        for family, looks in FAMILIES.items():
            cosines = encoded.astype(np.float64) @ prompts[family].T.astype(np.float64)
            kept = probabilities(cosines, siglip.scoring.scale, siglip.scoring.bias) > THRESHOLD
            single = np.array([frame.mains < 2 for frame in frames])
            filtered[f"{codec}_f1_{family}"] = _f1(kept, frames, looks, single)
            filtered[f"{codec}_f1_{family}_two_mains"] = _f1(kept, frames, looks, ~single)
        detected |= _detect(codec, detector, frames)
        print(codec, len(frames), "frames measured", flush=True)
    metrics = {
        "filter": {"threshold": THRESHOLD, **filtered},
        "detector": detected,
        "dedup": _compare_vectors(vectors),
    }
    text = json.dumps(metrics, indent=2)
    print(text)
    (out / "metrics.json").write_text(text + "\n", encoding="utf-8")


def _f1(
    kept: NDArray[np.bool_],
    frames: Sequence[Judged],
    looks: Sequence[Look],
    chosen: NDArray[np.bool_],
) -> float:
    """Over frames x phrases; a phrase for a main thing that is half hidden is not counted."""
    truth, hidden = np.zeros_like(kept), np.zeros_like(kept)
    for row, frame in enumerate(frames):
        for thing in (thing for thing in frame.seen if thing.main):
            meant = np.array([look.covers(thing.look) for look in looks])
            (truth if thing.visible >= HALF_HIDDEN else hidden)[row] |= meant
    counted = (truth | ~hidden) & chosen[:, None]
    hits = int((kept & truth & counted).sum())
    wrong = int(((kept ^ truth) & counted).sum())
    return round(2 * hits / max(1, 2 * hits + wrong), 4)


def _detect(codec: str, detector: Detector, frames: Sequence[Judged]) -> Figures:
    looks = FAMILIES["colour_shape"]
    prompts = [phrase(look) for look in looks]
    found = [detector(frame.pixels, prompts, 0.05) for frame in frames]
    truth = [frame.seen for frame in frames]
    return {
        f"{codec}_ap50": round(average_precision(truth, found, looks), 4),
        f"{codec}_ap50_main": round(average_precision(truth, found, looks, small=False), 4),
        f"{codec}_ap50_small": round(average_precision(truth, found, looks, mains=False), 4),
    }


def _compare_vectors(
    vectors: dict[str, tuple[NDArray[np.float32], list[Judged]]],
) -> Figures:
    """Cosines of pairs that are near-duplicates and of pairs that are not."""
    pairs: dict[str, list[NDArray[np.float64]]] = {}

    def add(kind: str, cosines: NDArray[np.float64]) -> None:
        pairs.setdefault(kind, []).append(cosines)

    for vector, frames in vectors.values():
        cosine = vector.astype(np.float64) @ vector.T.astype(np.float64)
        scene = np.array([frame.scene for frame in frames])
        dull = np.array([frame.mains == 0 for frame in frames])
        number = np.arange(len(frames))
        upper = number[:, None] < number[None]
        same = scene[:, None] == scene[None]
        both_dull = dull[:, None] & dull[None]
        add("half_second_apart", cosine[same & (number[None] - number[:, None] == 1)])
        add("same_scene", cosine[same & upper])
        add("other_scene", cosine[~same & upper & ~both_dull])
        add("other_dull_scene", cosine[~same & upper & both_dull])
    for one, two in (("h264", "vp9"), ("av1", "hevc")):
        a, b = (vectors[codec][0].astype(np.float64) for codec in (one, two))
        add("other_codec", (a * b).sum(axis=1))
    figures = Figures()
    for kind, parts in pairs.items():
        cosines = np.concatenate(parts)
        false = kind.startswith("other_") and kind != "other_codec"
        figures[f"{kind}_pairs"] = len(cosines)
        figures[f"{kind}_{'max' if false else 'min'}"] = round(
            float(cosines.max() if false else cosines.min()), 4
        )
        for threshold in (0.85, 0.90):
            share = float((cosines >= threshold).mean())
            figures[f"{kind}_near_at_{threshold * 100:.0f}"] = round(share, 6)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the demo models on held-out scenes.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=SCENES)
    wish = parser.parse_args()
    evaluate(wish.out, wish.scenes)
