"""Frames to the pixels that a model sees, and the way back for boxes.

The sizes and filters are those of the processors that the models were published with, so that a
render differs from theirs by rounding alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

Mode = Literal["squash", "pad", "shortest-side-crop", "shortest-side"]
Resample = Literal["bilinear", "bicubic", "gaussian"]


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

    Modes:
        squash: both sides are scaled to fit, whatever the aspect (SigLIP).
        pad: the aspect is kept, the right or the bottom is filled; the filling is put on before
            scaling, so that the edge of the picture blends into it (OWLv2).
        shortest-side-crop: the aspect is kept, the shorter side becomes `shortest_side`, and of
            that the middle is cut out (DINOv2: 224 out of 256).
        shortest-side: the aspect is kept, the shorter side becomes `height`, unless the longer one
            would exceed `width`; nothing is cut off or filled, so each aspect has a render of its
            own size (GroundingDINO).

    Attributes:
        resample: Pillow's filters, or gaussian: scipy's blur and linear sampling (OWLv2). Scaling
            down is antialiased with each of them.
        shortest_side: absent means that the crop takes in as much of the frame as it can.
        fill: grey level of the filling, 0 is black.

    Raises:
        ValueError: the attributes do not fit each other.
    """

    mode: Mode
    height: int
    width: int
    resample: Resample
    shortest_side: int | None = None
    fill: int = 0

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError("height and width must be 1 or more")
        if self.mode == "shortest-side" and self.width < self.height:
            raise ValueError("width bounds the longer side: it must not be below height")
        if self.resample == "gaussian" and self.mode == "shortest-side-crop":
            raise ValueError("resample gaussian knows no crop")
        if self.shortest_side is not None:
            if self.mode != "shortest-side-crop":
                raise ValueError("shortest_side is for mode shortest-side-crop")
            if self.shortest_side < max(self.height, self.width):
                raise ValueError("shortest_side must not be below height and width")
        if not 0 <= self.fill <= 255 or (self.fill and self.mode != "pad"):
            raise ValueError("fill is for mode pad, from 0 to 255")

    @property
    def key(self) -> str:
        """A short stable name; equal keys mean equal renders."""
        crop = f"-of{self.shortest_side}" if self.shortest_side else ""
        fill = f"-fill{self.fill}" if self.mode == "pad" else ""
        return f"{self.mode}-{self.height}x{self.width}{crop}-{self.resample}{fill}"

    @property
    def facts(self) -> Mapping[str, Any]:
        """What `of` makes it from again, as plain data; what is absent is left out."""
        facts: dict[str, Any] = {
            "key": self.key,
            "mode": self.mode,
            "height": self.height,
            "width": self.width,
            "resample": self.resample,
        }
        if self.shortest_side is not None:
            facts["shortest_side"] = self.shortest_side
        if self.fill:
            facts["fill"] = self.fill
        return facts

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """The preprocessing with these `facts`."""
        return cls(**{name: value for name, value in facts.items() if name != "key"})

    def render(self, frame_rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 RGB (H, W, 3) to uint8 RGB (height, width, 3); ValueError for other input."""
        from PIL import Image  # noqa: PLC0415  # the operator reads cards where there is no Pillow

        if frame_rgb.ndim != 3 or frame_rgb.shape[2] != 3 or frame_rgb.dtype != np.uint8:
            raise ValueError(f"a frame is uint8 (H, W, 3), not {frame_rgb.dtype} {frame_rgb.shape}")
        frame_height, frame_width = frame_rgb.shape[:2]
        height, width = self.size(frame_height, frame_width)
        if self.resample == "gaussian":
            filled = self._filled(frame_height, frame_width)
            return _blurred(frame_rgb, filled, (height, width), self.fill)
        if self.mode == "pad":
            canvas = np.full((*self._filled(frame_height, frame_width), 3), self.fill, np.uint8)
            canvas[:frame_height, :frame_width] = frame_rgb
            frame_rgb = canvas
        image = Image.fromarray(np.ascontiguousarray(frame_rgb))
        resample = Image.Resampling[self.resample.upper()]
        if self.mode == "shortest-side-crop":
            return self._crop(image, resample)
        return np.array(image.resize((width, height), resample))

    def _crop(self, image: Any, resample: Any) -> NDArray[np.uint8]:
        x0, y0, x1, y1 = self._cut_out(image.height, image.width)
        if self.shortest_side is None:
            size = (self.width, self.height)
            return np.array(image.resize(size, resample, box=(x0, y0, x1, y1)))
        # Only the columns that are seen are made: a filter looks past the edges of its box, so
        # they are those of scaling the whole frame. With rows Pillow is less exact.
        rows, _ = self._scaled(image.height, image.width)
        tall = image.resize((self.width, rows), resample, box=(x0, 0, x1, image.height))
        top = (rows - self.height) // 2
        return np.array(tall)[top : top + self.height]

    def size(self, frame_height: int, frame_width: int) -> tuple[int, int]:
        """Height and width of the render of a frame of this size."""
        if self.mode != "shortest-side":
            return self.height, self.width
        return _bounded(frame_height, frame_width, self.height, self.width)

    def place(self, frame_height: int, frame_width: int) -> Placement:
        """Where a frame of this size lies in its render."""
        if self.mode == "shortest-side-crop":
            x0, y0, x1, y1 = self._cut_out(frame_height, frame_width)
            scale_x, scale_y = self.width / (x1 - x0), self.height / (y1 - y0)
            return Placement((scale_x, scale_y), (-x0 * scale_x, -y0 * scale_y))
        height, width = self.size(frame_height, frame_width)
        filled_height, filled_width = self._filled(frame_height, frame_width)
        return Placement((width / filled_width, height / filled_height), (0.0, 0.0))

    def _filled(self, frame_height: int, frame_width: int) -> tuple[int, int]:
        """Height and width of the frame with its filling, before scaling."""
        if self.mode != "pad":
            return frame_height, frame_width
        scale = min(self.height / frame_height, self.width / frame_width)
        return (
            max(frame_height, round(self.height / scale)),
            max(frame_width, round(self.width / scale)),
        )

    def _cut_out(self, frame_height: int, frame_width: int) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of what the render shows, in pixels of the frame."""
        if self.shortest_side is None:
            # The largest centred part that has the render's aspect.
            scale = max(self.height / frame_height, self.width / frame_width)
            height, width = self.height / scale, self.width / scale
            x0, y0 = (frame_width - width) / 2, (frame_height - height) / 2
            return x0, y0, min(x0 + width, frame_width), min(y0 + height, frame_height)
        scaled_height, scaled_width = self._scaled(frame_height, frame_width)
        top, left = (scaled_height - self.height) // 2, (scaled_width - self.width) // 2
        in_y, in_x = frame_height / scaled_height, frame_width / scaled_width
        return (
            left * in_x,
            top * in_y,
            min((left + self.width) * in_x, frame_width),
            min((top + self.height) * in_y, frame_height),
        )

    def _scaled(self, frame_height: int, frame_width: int) -> tuple[int, int]:
        """The frame's size with its shorter side at `shortest_side`."""
        assert self.shortest_side is not None
        short = min(frame_height, frame_width)
        return (
            int(self.shortest_side * frame_height / short),
            int(self.shortest_side * frame_width / short),
        )


def _bounded(height: int, width: int, shorter: int, longest: int) -> tuple[int, int]:
    """The size with the shorter side at `shorter`, or the longer one at about `longest`.

    The roundings are those of the processor that GroundingDINO was published with.
    """
    low, high = min(height, width), max(height, width)
    exact: float = shorter
    if high / low * shorter > longest:
        exact = longest * low / high
    short = max(1, round(exact))
    if low == short:
        return height, width
    long = max(1, int(exact * high / low))
    return (short, long) if height <= width else (long, short)


def _blurred(
    frame_rgb: NDArray[np.uint8], filled: tuple[int, int], size: tuple[int, int], fill: int
) -> NDArray[np.uint8]:
    """The frame at the top left of a filled picture of height and width `filled`, scaled to `size`.

    The axes are filtered one after the other: taps are weights of source rows (or columns), and
    those that fall on the filling only add its level.
    """
    level = np.float32(fill)
    tall = _filtered(frame_rgb, *_taps(filled[0], size[0]), level)
    wide = _filtered(
        np.ascontiguousarray(tall.transpose(1, 0, 2)), *_taps(filled[1], size[1]), level
    )
    return np.ascontiguousarray(np.rint(wide.clip(0, 255)).astype(np.uint8).transpose(1, 0, 2))


def _filtered(
    pixels: NDArray[Any], rows: NDArray[np.intp], weights: NDArray[np.float32], level: np.float32
) -> NDArray[np.float32]:
    """Along the first axis: float32 (len(rows), ...), the weighted sum of each tap's row."""
    length = len(pixels)
    out = np.zeros((len(rows), *pixels.shape[1:]), np.float32)
    for tap, weight in zip(rows.T, weights.T, strict=True):
        inside = tap < length
        if inside.all():
            out += pixels[tap] * weight[:, None, None]
        else:
            out[inside] += pixels[tap[inside]] * weight[inside, None, None]
            out[~inside] += level * weight[~inside, None, None]
    return out


@lru_cache(maxsize=16)
def _taps(side: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each of `size` outputs, which of `side` inputs it is made of and with which weights.

    As skimage.transform.resize with antialiasing does it by scipy.ndimage: a Gaussian of sigma
    (factor - 1) / 2 cut off at 4 sigma, then linear sampling at pixel centres; both mirror at the
    edges without repeating the last pixel.
    """
    factor = side / size
    sigma = max(0.0, (factor - 1) / 2)
    radius = int(4 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2) if radius else np.ones(1)
    kernel /= kernel.sum()
    centres = (np.arange(size) + 0.5) * factor - 0.5
    below = np.floor(centres).astype(np.intp)
    share = centres - below
    # One tap more than the kernel has: the two samples that are interpolated are neighbours.
    spread = np.arange(-radius, radius + 2)
    weights = np.zeros((size, len(spread)))
    weights[:, :-1] += (1 - share)[:, None] * kernel
    weights[:, 1:] += share[:, None] * kernel
    return _mirrored(below[:, None] + spread, side), weights.astype(np.float32)


def _mirrored(index: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    if length == 1:
        return np.zeros_like(index)
    period = 2 * (length - 1)
    folded = np.abs(index) % period
    return np.asarray(np.minimum(folded, period - folded), np.intp)
