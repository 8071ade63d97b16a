"""Detectors that read all prompts together with the picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_miner_models.caption import Caption, CaptionError, captions
from data_miner_models.cards import ModelCard
from data_miner_models.detector import Detections, chosen, to_frame
from data_miner_models.errors import ModelError
from data_miner_models.providers import Choice, Provider
from data_miner_models.runtime import Session, open_session
from data_miner_models.scoring import probabilities
from data_miner_models.text_encoder import open_tokenizer


class GroundedDetector:
    """Runs a model of family grounded (GroundingDINO and its kin).

    A box's score for a prompt is the probability of the prompt's best token. A picture runs through
    the smallest graph that takes it in; graphs are loaded when they are needed. More prompts than
    the model reads at once cost another run.

    Raises:
        ModelError: as `open_session`; also for a model of another family.
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        threads: int = 1,
        provider: Provider = "auto",
        engines: Path | None = None,
        nms_iou: float = 0.5,
    ) -> None:
        if card.family != "grounded":
            raise ModelError(f"model {card.name}: family {card.family} reads no captions")
        self.card = card
        self._threads, self._provider, self._nms_iou = threads, provider, nms_iou
        self._engines = engines
        self._tokenizer = open_tokenizer(card)
        self._sizes = sorted(
            (
                (int(height), int(width), role)
                for role in card.graphs
                for height, width in re.findall(r"(\d+)x(\d+)", role)
            ),
            key=lambda size: size[0] * size[1],
        )
        self._sessions: dict[str, Session] = {}
        # The largest one now, so that what is wrong with the model or the device is said at once.
        self._first = self._open(self._sizes[-1][2])
        self._known: tuple[tuple[str, ...], tuple[Caption, ...]] | None = None

    @property
    def choice(self) -> Choice:
        """Where it runs, after "auto" has chosen."""
        return self._first.choice

    def __call__(
        self, frame_rgb: NDArray[np.uint8], prompts: Sequence[str], min_score: float
    ) -> Detections:
        """As `Detector`."""
        render = self.card.preprocessing.render(frame_rgb)
        height, width = render.shape[:2]
        session, canvas = self._canvas(height, width)
        canvas[0, :height, :width] = render
        placement = self.card.preprocessing.place(*frame_rgb.shape[:2])
        boxes, scores = [], []
        for caption in self._captions(tuple(prompts)):
            found = session.run(
                frames=canvas,
                sizes=np.array([[height, width]], np.int64),
                ids=caption.ids,
                phrases=caption.phrases,
                positions=caption.positions,
            )
            # The published model gives shares of the picture, not of what it is filled up to.
            boxes.append(
                to_frame(
                    found["boxes"][0],
                    (height, width),
                    placement,
                    (frame_rgb.shape[0], frame_rgb.shape[1]),
                )
            )
            scores.append(_scores(found["logits"][0], caption, len(prompts)))
        if not boxes:
            return chosen(
                np.empty((0, 4), np.float32), np.empty((0, 0), np.float32), min_score, self._nms_iou
            )
        return chosen(np.concatenate(boxes), np.concatenate(scores), min_score, self._nms_iou)

    def _captions(self, prompts: tuple[str, ...]) -> tuple[Caption, ...]:
        """The last prompts are remembered, as frames come in long rows."""
        if self._known is None or self._known[0] != prompts:
            try:
                self._known = (prompts, tuple(captions(self._tokenizer, prompts)))
            except CaptionError as error:
                raise ModelError(f"model {self.card.name}: {error}") from None
        return self._known[1]

    def _canvas(self, height: int, width: int) -> tuple[Session, NDArray[np.uint8]]:
        for high, wide, role in self._sizes:
            if height <= high and width <= wide:
                return self._open(role), np.zeros((1, high, wide, 3), np.uint8)
        sizes = ", ".join(role for _, _, role in self._sizes)
        raise ModelError(f"model {self.card.name}: {height}x{width} fits none of {sizes}")

    def _open(self, role: str) -> Session:
        if role not in self._sessions:
            self._sessions[role] = open_session(
                self.card,
                role,
                provider=self._provider,
                threads=self._threads,
                engines=self._engines,
            )
        return self._sessions[role]


def _scores(logits: NDArray[np.float32], caption: Caption, prompts: int) -> NDArray[np.float32]:
    """(boxes, prompts); 0 for prompts that are in another caption."""
    scores = np.zeros((len(logits), prompts), np.float32)
    for index, (first, behind) in zip(caption.prompts, caption.spans, strict=True):
        best = logits[:, first:behind].astype(np.float64).max(axis=1)
        scores[:, index] = probabilities(best, 1, 0)
    return scores
