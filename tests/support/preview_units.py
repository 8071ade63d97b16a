"""Numbers as Grafana writes them, for the units that the dashboards use."""

from __future__ import annotations

import math
from typing import Final

_SECONDS: Final = (
    (1e-3, 1e-6, " µs"), (1.0, 1e-3, " ms"), (60.0, 1.0, " s"), (3600.0, 60.0, " min"),
    (86400.0, 3600.0, " hours"), (604800.0, 86400.0, " days"), (math.inf, 604800.0, " weeks"),
)  # fmt: skip
"""Below which value, what one is, how it is called."""
_SHORT: Final = ("", " K", " Mil", " Bil", " Tri")
_BYTES: Final = (" B", " KiB", " MiB", " GiB", " TiB", " PiB")
_RATES: Final = (" B/s", " kB/s", " MB/s", " GB/s", " TB/s")


def formatted(value: float, unit: str, decimals: int | None = None, *, now: float = 0.0) -> str:
    """A value in its unit; `now` is Unix time. Raises KeyError for a unit that is not known."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if unit.startswith("suffix:"):
        return f"{_number(value, decimals)} {unit.removeprefix('suffix:')}"
    return _UNITS[unit](value, decimals, now)


def _number(value: float, decimals: int | None) -> str:
    """With three digits that mean something, unless their number is given."""
    if decimals is None:
        size = math.floor(math.log10(abs(value))) if value else 0
        return (
            f"{value:.{max(0, 2 - size)}f}".rstrip("0").rstrip(".") if size < 2 else f"{value:.0f}"
        )
    return f"{value:.{decimals}f}"


def _plain(value: float, decimals: int | None, _: float) -> str:
    return _number(value, decimals)


def _locale(value: float, decimals: int | None, _: float) -> str:
    places = decimals if decimals is not None else 0 if value == round(value) else 2
    return f"{value:,.{places}f}"


def _share(value: float, decimals: int | None, _: float) -> str:
    return f"{_number(value * 100, decimals)}%"


def _seconds(value: float, decimals: int | None, _: float) -> str:
    if not value:
        return "0 s"
    below = next(step for step in _SECONDS if abs(value) < step[0])
    text = _number(value / below[1], decimals)
    one = text == "1" and len(below[2]) > 4
    return text + (below[2].removesuffix("s") if one else below[2])


def _scaled(value: float, decimals: int | None, base: float, names: tuple[str, ...]) -> str:
    step = 0
    while abs(value) >= base and step < len(names) - 1:
        value, step = value / base, step + 1
    return _number(value, decimals) + names[step]


def _from_now(value: float, _: int | None, now: float) -> str:
    """Milliseconds of Unix time as a distance."""
    away = value / 1000 - now
    size = abs(away)
    limits = ((90, 1, "second"), (5400, 60, "minute"), (129600, 3600, "hour"))
    one, name = next(((one, name) for most, one, name in limits if size < most), (86400, "day"))
    count = max(1, round(size / one))
    text = f"{count} {name}{'' if count == 1 else 's'}"
    return f"in {text}" if away >= 0 else f"{text} ago"


_UNITS: Final = {
    "none": _plain,
    "short": lambda value, decimals, _: _scaled(value, decimals, 1000, _SHORT),
    "locale": _locale,
    "percentunit": _share,
    "s": _seconds,
    "bytes": lambda value, decimals, _: _scaled(value, decimals, 1024, _BYTES),
    "Bps": lambda value, decimals, _: _scaled(value, decimals, 1000, _RATES),
    "ops": lambda value, decimals, _: f"{_number(value, decimals)} ops/s",
    "reqps": lambda value, decimals, _: f"{_number(value, decimals)} req/s",
    "dateTimeFromNow": _from_now,
}
UNITS: Final = frozenset(_UNITS)
"""Beside those that begin with ``suffix:``."""
