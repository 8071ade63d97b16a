"""What a model said when it was exported, stored with it, so that any machine can say it again.

Pictures are drawn, not stored; what is stored are token ids, vectors and boxes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from data_miner_models.cards import ModelCard
from data_miner_models.detector import Detections, Detector
from data_miner_models.errors import ModelError
from data_miner_models.image_encoder import ImageEncoder
from data_miner_models.open_detector import open_detector
from data_miner_models.providers import Choice, Precision, Provider
from data_miner_models.text_encoder import TextEncoder, open_tokenizer

PROMPTS: Final = ("a red fire truck", "two dogs on a beach", "Tür, naïve café!", "a wooden door")
MAX_COSINE_GAP: Final[Mapping[Precision, float]] = {"single": 1e-5, "half": 2e-3}
"""1 - cosine that another machine may cause, by what it rounds to at the worst."""
MAX_PIXELS: Final[Mapping[Precision, float]] = {"single": 0.5, "half": 4.0}
MAX_SCORE_GAP: Final[Mapping[Precision, float]] = {"single": 1e-3, "half": 2e-2}
_BOXES: Final = 20
_FLOORS: Final = (0.3, 0.1, 0.03, 0.01, 0.003, 0.0)

Values = Mapping[str, NDArray[Any]]


def drawn(number: int, height: int = 360, width: int = 640) -> NDArray[np.uint8]:
    """uint8 (height, width, 3): the same shapes on every machine, by whole numbers alone."""
    y, x = np.mgrid[0:height, 0:width]
    frame = np.stack(
        [
            (x * 255 // width + 40 * number) % 256,
            (y * 255 // height + 90 * number) % 256,
            ((x // 16 + y // 16) % 2) * 120 + 30 * (number % 4),
        ],
        axis=-1,
    ).astype(np.uint8)
    top, left = height // 5 + 7 * number, width // 6 + 11 * number
    frame[top : top + height // 3, left : left + width // 4] = (210, 30, 40)
    radius = height // 6
    inside = (x - width * 2 // 3) ** 2 + (y - height // 2) ** 2 < radius**2
    frame[inside] = (20, 160, 90)
    return frame


def say(card: ModelCard) -> Values:
    """What the model says to the drawn pictures and the prompts on a CPU.

    Raises ModelError as it does.
    """
    return _say(card, "cpu", None)[0]


def _say(
    card: ModelCard, provider: Provider, engines: Path | None
) -> tuple[dict[str, NDArray[Any]], tuple[Choice, ...]]:
    """Also where its graphs ran."""
    where: Any = {"provider": provider, "engines": engines}
    values: dict[str, NDArray[Any]] = {}
    ran = []
    if "tokenizer" in card.files:
        tokenizer = open_tokenizer(card)
        for number, prompt in enumerate(PROMPTS):
            values[f"ids_{number}"] = np.array(tokenizer.encode(prompt).ids, np.int64)
    if card.family in {"siglip", "dino"}:
        images = ImageEncoder(card, **where)
        renders = np.stack([card.preprocessing.render(drawn(number)) for number in range(3)])
        values["image_vectors"] = images(renders)
        ran.append(images.choice)
    if card.family == "siglip":
        texts = TextEncoder(card, **where)
        values["text_vectors"] = texts(PROMPTS)
        ran.append(texts.choice)
    if card.family in {"open-vocabulary", "grounded"}:
        detector = open_detector(card, **where)
        values |= _boxes(detector)
        ran.append(detector.choice)
    return values, tuple(ran)


def write(card: ModelCard, path: Path) -> None:
    """Store what the model says on a CPU."""
    with path.open("wb") as stream:
        np.savez(stream, **say(card))  # type: ignore[arg-type]  # arrays by name


def verify_golden(
    card: ModelCard, provider: Provider = "cpu", *, engines: Path | None = None
) -> tuple[str, ...]:
    """Let the model say it again; where it ran unless that is a CPU, and what was compared.

    A model without a golden file is held against what it says on a CPU; there it has nothing to be
    compared with: it runs, and the answer is empty.

    Args:
        engines: as for `open_session`.

    Raises:
        ModelError: it says something else than at its export; with the difference.
    """
    if "golden" in card.files:
        expected = _stored(card)
    elif provider == "cpu":
        say(card)  # at least it runs
        return ()
    else:
        expected = dict(say(card))
    got, ran = _say(card, provider, engines)
    precision: Precision = "half" if any(each.precision == "half" for each in ran) else "single"
    said = [] if provider == "cpu" else [f"on {ran[0].words}"]
    return (*said, *_compared(card, precision, expected, got))


def _stored(card: ModelCard) -> dict[str, NDArray[Any]]:
    try:
        with (
            card.path("golden").open("rb") as stream,
            np.load(stream, allow_pickle=False) as stored,
        ):
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"model {card.name}: {card.path('golden')}: {error}") from error


def _compared(
    card: ModelCard, precision: Precision, expected: dict[str, NDArray[Any]], got: Values
) -> list[str]:
    floor = float(expected.pop("min_score", np.float64(0)))
    said = []
    ids = [name for name in expected if name.startswith("ids_")]
    for name in ids:
        if not np.array_equal(expected[name], got[name]):
            prompt = PROMPTS[int(name.removeprefix("ids_"))]
            raise ModelError(f"model {card.name}: other token ids than at its export: {prompt!r}")
    if ids:
        said.append(f"{len(ids)} prompts' ids")
    for name in ("image_vectors", "text_vectors"):
        if name in expected:
            gap = _gap(expected[name], got[name])
            if not gap <= MAX_COSINE_GAP[precision]:
                raise ModelError(
                    f"model {card.name}: {name.replace('_', ' ')} differ from those of its export "
                    f"by 1 - cosine {gap:.2g}, at most {MAX_COSINE_GAP[precision]:g} is rounding"
                )
            said.append(f"{len(expected[name])} {name.replace('_', ' ')} within {gap:.1g}")
    if "boxes" in expected:
        said.append(_compare_boxes(card, precision, floor, expected, got))
    return said


def _boxes(detector: Detector) -> dict[str, NDArray[Any]]:
    """The best boxes of one picture, at a floor that leaves some and parts them from the rest."""
    found: Detections | None = None
    floor = 0.0
    for floor in _FLOORS:
        found = detector(drawn(1), PROMPTS, floor)
        if len(found) >= 5:
            break
    assert found is not None
    best = slice(0, _BOXES)
    return {
        "boxes": found.boxes_xyxy[best],
        "scores": found.scores[best],
        "labels": found.labels[best],
        "min_score": np.float64(floor),  # type: ignore[dict-item]
    }


def _compare_boxes(
    card: ModelCard, precision: Precision, floor: float, expected: Values, got: Values
) -> str:
    """Every stored box that is clearly above the floor is found again, whatever the order."""
    pixels = score = 0.0
    count = 0
    margin = MAX_SCORE_GAP[precision]
    for box, own, label in zip(
        expected["boxes"], expected["scores"], expected["labels"], strict=True
    ):
        if own < max(floor, float(expected["scores"][-1])) + 2 * margin:
            continue
        same = np.flatnonzero(got["labels"] == label)
        if not len(same):
            raise ModelError(f"model {card.name}: a box of its export is not found any more")
        apart = np.abs(got["boxes"][same] - box).max(axis=1)
        nearest = int(np.argmin(apart))
        pixels = max(pixels, float(apart[nearest]))
        score = max(score, abs(float(got["scores"][same[nearest]]) - float(own)))
        count += 1
    if not (pixels <= MAX_PIXELS[precision] and score <= margin):
        raise ModelError(
            f"model {card.name}: boxes differ from those of its export by {pixels:.2g} pixels and "
            f"{score:.2g} of score; {MAX_PIXELS[precision]} and {margin:g} are rounding"
        )
    return f"{count} boxes within {pixels:.1g} pixels"


def _gap(expected: NDArray[Any], got: NDArray[Any]) -> float:
    if expected.shape != got.shape:
        return float("inf")
    wide, own = expected.astype(np.float64), got.astype(np.float64)
    return float(np.max(np.abs(1 - (wide * own).sum(axis=-1))))
