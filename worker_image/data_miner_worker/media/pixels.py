"""From a decoded frame to RGB, and from RGB to the bytes of an image file."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray
from PIL import Image

_FLAGS: Final = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
"""Exact rounding, so that a processor with other vector instructions gives the same bytes, and
chroma for every pixel."""

_UNSPECIFIED: Final = 2
_HD_LINES: Final = 720


def to_rgb(frame: Any) -> NDArray[np.uint8]:
    """A decoded frame as uint8 RGB (H, W, 3), upright, in the pixels that are stored.

    The matrix is the one that the frame names; where it names none, it is ITU-R 709 from 720 lines
    on, else 601, as players take it. Turned as the file asks (in quarters); pixels that are not
    square stay so; HDR is not mapped to standard range.
    """
    # Only the frame's own values and these two ever reach the converter: 5 is ITU-R 601.
    matrix = None
    if frame.colorspace == _UNSPECIFIED:
        matrix = Colorspace.ITU709 if frame.height >= _HD_LINES else Colorspace.ITU601
    picture = frame.reformat(
        format="rgb24",
        src_colorspace=matrix,
        interpolation=_FLAGS,
        dst_color_range=ColorRange.JPEG,
        threads=1,
    ).to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns) if turns else picture)


def encode_image(frame_rgb: NDArray[np.uint8], form: str, quality: int) -> bytes:
    """The bytes of an image file: ``JPEG`` or ``PNG``; the same pixels give the same bytes.

    JPEG has 4:2:0 chroma, which is what nearly all video has, and optimised Huffman tables;
    `quality` is 1..100. PNG is lossless and has no use for `quality`.
    """
    image, stream = Image.fromarray(frame_rgb), io.BytesIO()
    if form == "JPEG":
        image.save(stream, "JPEG", quality=quality, subsampling=2, optimize=True)
    elif form == "PNG":
        image.save(stream, "PNG", compress_level=6)
    else:
        raise ValueError(f"images are JPEG or PNG, not {form!r}")
    return stream.getvalue()
