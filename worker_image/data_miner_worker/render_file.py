"""A `.npy` file that is written row by row: renders of a long video need not fit into memory."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray


class RenderFile:
    """Writes uint8 (N, height, width, 3), where N is how many rows came. A context manager."""

    def __init__(self, path: Path, height: int, width: int) -> None:
        self._shape = (height, width, 3)
        self._rows = 0
        self._file = path.open("wb")
        self._file.write(self._header())

    def append(self, render: NDArray[np.uint8]) -> None:
        """Add one render. Raises ValueError when it has another shape or type."""
        if render.shape != self._shape or render.dtype != np.uint8:
            raise ValueError(f"a row is uint8 {self._shape}, not {render.dtype} {render.shape}")
        self._file.write(np.ascontiguousarray(render).data)
        self._rows += 1

    def _header(self) -> bytes:
        """The header for the rows so far; NumPy leaves room in it for any number of them."""
        stream = BytesIO()
        shape = (self._rows, *self._shape)
        npy.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return stream.getvalue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._file.write(self._header())
