"""Small pictures for the page, within a budget."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data_miner_worker.report.content import Picture

_QUALITY: Final = 72


class Album:
    """Makes data URIs until their bytes are used up; after that it gives None."""

    def __init__(self, budget_bytes: int) -> None:
        self._left = budget_bytes

    def of_file(self, path: Path, width: int) -> Picture | None:
        """A picture of an image file; None also when it cannot be read."""
        try:
            with Image.open(path) as opened:
                return self._keep(opened.convert("RGB"), width, opened.width / opened.height)
        except (OSError, ValueError, Image.DecompressionBombError):
            return None

    def of_render(self, pixels: NDArray[np.uint8], width: int, aspect: float) -> Picture | None:
        """A picture of a render (h, w, 3), to be shown in the aspect of its frame."""
        return self._keep(Image.fromarray(np.ascontiguousarray(pixels)), width, aspect)

    def _keep(self, image: Image.Image, width: int, aspect: float) -> Picture | None:
        if self._left <= 0:
            return None
        small = image.copy()
        small.thumbnail((width, 2 * width), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
        uri = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
        self._left -= len(uri)
        return Picture(uri, aspect)
