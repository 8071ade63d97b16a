"""Frames to the pixels that a model sees, and the way back for boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mode = Literal["squash", "pad", "shortest-side-crop"]
Resample = Literal["bilinear", "bicubic"]

_PADDING = 128


@dataclass(frozen=True)
class Placement:
    """Where a frame lies in its render: render = frame * scale + offset, in pixels."""

    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]

    def to_frame(self, boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Boxes (N, 4) in pixels of the render to pixels of the frame."""
        scale, offset = np.array(self.scale_xy * 2), np.array(self.offset_xy * 2)
        return np.asarray((boxes_xyxy - offset) / scale, np.float64)


@dataclass(frozen=True)
class Preprocessing:
    """How a frame becomes a render of `height` x `width` pixels.

    squash: both sides are scaled to fit, whatever the aspect. pad: the aspect is kept, grey fills
    the right and the bottom. shortest-side-crop: the aspect is kept, the middle is cut out.
    Scaling down is antialiased in every mode.
    """

    mode: Mode
    height: int
    width: int
    resample: Resample

    @property
    def key(self) -> str:
        """A short stable name; equal keys mean equal renders."""
        return f"{self.mode}-{self.height}x{self.width}-{self.resample}"

    def render(self, frame_rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 RGB (H, W, 3) to uint8 RGB (height, width, 3); ValueError for other input."""
        from PIL import Image  # noqa: PLC0415  # the operator reads cards where there is no Pillow

        if frame_rgb.ndim != 3 or frame_rgb.shape[2] != 3 or frame_rgb.dtype != np.uint8:
            raise ValueError(f"a frame is uint8 (H, W, 3), not {frame_rgb.dtype} {frame_rgb.shape}")
        image = Image.fromarray(np.ascontiguousarray(frame_rgb))
        resample = Image.Resampling[self.resample.upper()]
        if self.mode == "squash":
            return np.array(image.resize((self.width, self.height), resample))
        if self.mode == "shortest-side-crop":
            box = self._middle(*frame_rgb.shape[:2])
            return np.array(image.resize((self.width, self.height), resample, box=box))
        height, width = self._padded_size(*frame_rgb.shape[:2])
        canvas = np.full((self.height, self.width, 3), _PADDING, np.uint8)
        canvas[:height, :width] = np.asarray(image.resize((width, height), resample))
        return canvas

    def place(self, frame_height: int, frame_width: int) -> Placement:
        """Where a frame of this size lies in its render."""
        if self.mode == "shortest-side-crop":
            x0, y0, x1, y1 = self._middle(frame_height, frame_width)
            scale_x, scale_y = self.width / (x1 - x0), self.height / (y1 - y0)
            return Placement((scale_x, scale_y), (-x0 * scale_x, -y0 * scale_y))
        height, width = self.height, self.width
        if self.mode == "pad":
            height, width = self._padded_size(frame_height, frame_width)
        return Placement((width / frame_width, height / frame_height), (0.0, 0.0))

    def _padded_size(self, frame_height: int, frame_width: int) -> tuple[int, int]:
        scale = min(self.height / frame_height, self.width / frame_width)
        return max(1, round(frame_height * scale)), max(1, round(frame_width * scale))

    def _middle(self, frame_height: int, frame_width: int) -> tuple[float, float, float, float]:
        """The largest centred x0, y0, x1, y1 of the frame that has the render's aspect."""
        scale = max(self.height / frame_height, self.width / frame_width)
        height, width = self.height / scale, self.width / scale
        x0, y0 = (frame_width - width) / 2, (frame_height - height) / 2
        return x0, y0, min(x0 + width, frame_width), min(y0 + height, frame_height)
