"""Which files beside an ONNX graph hold its weights.

Read from the file itself, as workers have no package that knows ONNX: what matters of its protocol
buffers are a few fields, and weights are passed over unread.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_EXTERNAL: Final = 1
_INSIDE: Final = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"
    },
    "sparse": {1: "tensor", 2: "tensor"},
}  # fmt: skip
"""By message: numbers of the fields in which tensors may lie, and what lies in these."""

Span = tuple[int, int]


def external_files(path: Path) -> tuple[str, ...]:
    """Paths as the graph names them, from its folder. Nothing for a file that is no ONNX.

    Raises OSError where it cannot be read.
    """
    try:
        with (
            path.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return tuple(sorted({os.path.normpath(name) for name in _locations(data)}))
    except (IndexError, ValueError):
        return ()


def _locations(data: mmap.mmap) -> Iterator[str]:
    left: list[tuple[str, Span]] = [("model", (0, len(data)))]
    while left:
        kind, span = left.pop()
        if kind == "tensor":
            yield from _of_tensor(data, span)
            continue
        inside = _INSIDE[kind]
        left += [
            (inside[number], value)
            for number, value in _fields(data, span)
            if number in inside and isinstance(value, tuple)
        ]


def _of_tensor(data: mmap.mmap, span: Span) -> Iterator[str]:
    where, names = 0, []
    for number, value in _fields(data, span):
        if number == 14 and isinstance(value, int):
            where = value
        elif number == 13 and isinstance(value, tuple):
            entry = {
                key: data[text[0] : text[1]].decode()
                for key, text in _fields(data, value)
                if isinstance(text, tuple)
            }
            if entry.get(1) == "location":
                names.append(entry.get(2, ""))
    if where == _EXTERNAL:
        yield from names


def _fields(data: mmap.mmap, span: Span) -> Iterator[tuple[int, int | Span]]:
    """Number of each field with its number, or with where its bytes are."""
    at, end = span
    while at < end:
        tag, at = _number(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _number(data, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _number(data, at)
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("no protocol buffer")
        if at + size > end:
            raise ValueError("a field is longer than what it is in")
        yield tag >> 3, (at, at + size)
        at += size


def _number(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A number of any length, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("no protocol buffer")
