"""Numbers as people read them."""

from __future__ import annotations

from typing import Final

_SIZES: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def count(number: float) -> str:
    """12345 as 12,345."""
    return f"{number:,.0f}"


def several(number: int, one: str, many: str | None = None) -> str:
    """1 image, 2 images."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def share(part: float, whole: float) -> str:
    """A share as a percentage that is never rounded to nothing; empty when there is no whole."""
    if not whole:
        return ""
    percent = 100 * part / whole
    if 0 < percent < 0.01:
        return "< 0.01 %"
    return f"{percent:.3g} %" if percent < 99.95 else f"{percent:.0f} %"


def size(number_of_bytes: float) -> str:
    """Bytes in decimal units."""
    value = float(number_of_bytes)
    for unit in _SIZES:
        if value < 1000 or unit == _SIZES[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    raise AssertionError


def clock(seconds: float) -> str:
    """A time in a video: 1:02:03.4 or 2:03.4."""
    minutes, tenths = divmod(round(max(0.0, seconds) * 10), 600)
    hours, minutes = divmod(minutes, 60)
    rest = tenths / 10
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def duration(seconds: float) -> str:
    """Working time: 0.12 s, 4 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def plain(name: str) -> str:
    """A field's name as words: bytes_downloaded as bytes downloaded."""
    return name.replace("_", " ")
