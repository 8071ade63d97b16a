"""Pictures over time, as SVG: lines, stacked areas, bars, lanes and heat."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import Final

Point = tuple[float, float]
"""Unix time and value."""
Text = Callable[[float], str]

_LEFT: Final = 10
_RIGHT: Final = 8
_TOP: Final = 6
_BOTTOM: Final = 18
_TIMES: Final = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600),
    *(7200, 10800, 21600, 43200, 86400),
)
_LETTER: Final = 6.4
"""Width of a letter of the axis, in pixels."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A series with its looks."""

    name: str
    color: str
    points: Sequence[Point]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Ticks:
    """Round numbers for an axis."""

    least: float = 0.0
    """The least distance of two of them."""
    seconds: bool = False
    """Round as times are: 1, 5, 10, 15 and 30 of a unit."""

    def over(self, low: float, high: float) -> list[float]:
        """Three to six of them, from below `low` to above `high`."""
        if not math.isfinite(high) or high <= low:
            high = low + max(1.0, self.least)
        step = max(self.least, self._step((high - low) / 4))
        first = math.floor(low / step)
        count = math.ceil((high - first * step) / step - 1e-9)
        return [round((first + place) * step, 12) for place in range(count + 1)]

    def _step(self, rough: float) -> float:
        if self.seconds and 1 < rough <= _TIMES[-1]:
            return float(next(each for each in _TIMES if rough <= each))
        size = 10.0 ** math.floor(math.log10(rough))
        return next(size * each for each in (1, 2, 2.5, 5, 10) if rough <= size * each)


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture's size in pixels and the time that it shows."""

    width: float
    height: float
    begin: float
    end: float
    left: float = _LEFT

    def x(self, at: float) -> float:
        """Pixels from the left."""
        share = (at - self.begin) / (self.end - self.begin)
        return self.left + share * (self.width - self.left - _RIGHT)

    def y(self, share: float) -> float:
        """Pixels from the top, of a share of the height from below."""
        return _TOP + (1 - share) * (self.height - _TOP - _BOTTOM)


def curves(
    found: Sequence[Curve],
    frame: Frame,
    *,
    told: Text,
    ticks: Ticks,
    filled: float = 0.0,
    stacked: bool = False,
    stepped: bool = False,
    least: float | None = None,
    most: float | None = None,
    limits: Sequence[tuple[float, str]] = (),
) -> str:
    """Lines or areas with both axes. `filled` is how strong an area below its line is, from 0 to 1;
    `limits` are dashed lines with their colours."""
    piled = _piled(found) if stacked else [[(at, 0.0, v) for at, v in c.points] for c in found]
    tops = [top for layer in piled for _, _, top in layer if math.isfinite(top)] or [0.0]
    low = least if least is not None else min(0.0, *tops)
    marks = ticks.over(low, most if most is not None else max(tops))
    high = most if most is not None else max(marks[-1], *tops)
    left = 12 + _LETTER * max(len(told(mark)) for mark in marks)
    inner = Frame(frame.width, frame.height, frame.begin, frame.end, left)

    def y(value: float) -> float:
        return inner.y((value - low) / ((high - low) or 1))

    parts = [_grid(inner, marks, y, told)]
    for curve, layer in zip(found, piled, strict=True):
        strong = 0.0 if curve.dashed else filled
        parts += [
            _area(run, inner, y, curve, strong, stepped=stepped) for run in _runs(layer, inner)
        ]
    for value, color in limits:
        parts.append(_level(inner, y(value), f'stroke="{color}" stroke-dasharray="8 6"'))
    return _svg(frame, parts)


def lanes(found: Sequence[tuple[str, Sequence[tuple[float, str, str]]]], frame: Frame) -> str:
    """A lane for each name: (Unix time, text, colour) of each moment."""
    inner = _beside([name for name, _ in found], frame)
    parts = [_times(inner)]
    high = (frame.height - _TOP - _BOTTOM) / len(found)
    for place, (name, moments) in enumerate(found):
        top = _TOP + place * high
        middle = top + high / 2 + 4
        parts.append(_text(inner.left - 8, middle, name, "end"))
        for begin, end, text, color in _segments(moments, _step([at for at, _, _ in moments])):
            x, right = inner.x(begin), inner.x(min(end, frame.end))
            parts.append(_rect(x, top + high * 0.1, right - x, high * 0.8, color, 0.8))
            if right - x > len(text) * 8:
                parts.append(_text((x + right) / 2, middle, text, "middle", "on"))
    return _svg(frame, parts)


def heat(rows: Sequence[tuple[str, Sequence[Point]]], frame: Frame, color: str) -> str:
    """A row of cells for each name, from below; the more, the stronger the colour."""
    inner = _beside([name for name, _ in rows], frame)
    parts = [_times(inner)]
    most = max((value for _, points in rows for _, value in points), default=0) or 1
    high = (frame.height - _TOP - _BOTTOM) / len(rows)
    for place, (name, points) in enumerate(rows):
        top = frame.height - _BOTTOM - (place + 1) * high
        parts.append(_text(inner.left - 8, top + high / 2 + 4, name, "end"))
        kept = points[:: max(1, len(points) // 80)]
        step = _step([at for at, _ in kept])
        for at, value in kept:
            x, right = inner.x(at), inner.x(min(at + step, frame.end))
            strong = (max(0.0, value) / most) ** 0.5
            parts.append(_rect(x, top + 0.5, right - x - 1, high - 1, color, strong))
    return _svg(frame, parts)


def _beside(names: Sequence[str], frame: Frame) -> Frame:
    left = 14 + _LETTER * max(map(len, names))
    return Frame(frame.width, frame.height, frame.begin, frame.end, left)


def _step(moments: Sequence[float]) -> float:
    return min((after - before for before, after in pairwise(moments)), default=60.0)


def _svg(frame: Frame, parts: Sequence[str]) -> str:
    size = f"{frame.width:.0f} {frame.height:.0f}"
    return f'<svg viewBox="0 0 {size}" preserveAspectRatio="none">{"".join(parts)}</svg>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(text)}</text>'


def _rect(x: float, y: float, width: float, height: float, color: str, strong: float) -> str:
    size = f'width="{max(0.5, width):.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{color}" opacity="{strong:.2f}"/>'


def _level(frame: Frame, y: float, looks: str) -> str:
    right = frame.width - _RIGHT
    return f'<line x1="{frame.left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}" {looks}/>'


def _piled(found: Sequence[Curve]) -> list[list[tuple[float, float, float]]]:
    """(time, bottom, top) of each curve on those before it; dashed ones stand on the ground."""
    ground: dict[float, float] = {}
    piled = []
    for curve in found:
        layer = []
        for at, value in curve.points:
            bottom = 0.0 if curve.dashed else ground.get(at, 0.0)
            layer.append((at, bottom, bottom + value))
            if not curve.dashed:
                ground[at] = bottom + value
        piled.append(layer)
    return piled


def _runs(
    layer: Sequence[tuple[float, float, float]], frame: Frame
) -> list[list[tuple[float, float, float]]]:
    """Pieces without a gap and without a value that is no number."""
    steps = sorted(b[0] - a[0] for a, b in pairwise(layer))
    longest = 1.5 * steps[0] if steps else frame.end - frame.begin
    runs: list[list[tuple[float, float, float]]] = []
    for point in layer:
        if not math.isfinite(point[2]):
            continue
        if not runs or point[0] - runs[-1][-1][0] > longest:
            runs.append([])
        runs[-1].append(point)
    return runs


def _area(
    run: Sequence[tuple[float, float, float]],
    frame: Frame,
    y: Callable[[float], float],
    curve: Curve,
    filled: float,
    *,
    stepped: bool,
) -> str:
    if len(run) == 1:
        at, _, top = run[0]
        return f'<circle cx="{frame.x(at):.1f}" cy="{y(top):.1f}" r="2.5" fill="{curve.color}"/>'
    above = _path([(frame.x(at), y(top)) for at, _, top in run], stepped=stepped)
    below = _path([(frame.x(at), y(bottom)) for at, bottom, _ in run], stepped=stepped)
    area = ""
    if filled:
        backwards = " L".join(reversed(below))
        area = (
            f'<path d="M{" L".join(above)} L{backwards}Z" fill="{curve.color}" opacity="{filled}"/>'
        )
    dash = ' stroke-dasharray="8 6"' if curve.dashed else ""
    return (
        f'{area}<path d="M{" L".join(above)}" fill="none" stroke="{curve.color}" '
        f'stroke-width="1.6" stroke-linejoin="round"{dash}/>'
    )


def _path(points: Sequence[Point], *, stepped: bool) -> list[str]:
    found = [f"{points[0][0]:.1f},{points[0][1]:.1f}"]
    for (_, before), (x, y) in pairwise(points):
        if stepped:
            found.append(f"{x:.1f},{before:.1f}")
        found.append(f"{x:.1f},{y:.1f}")
    return found


def _grid(frame: Frame, marks: Sequence[float], y: Callable[[float], float], told: Text) -> str:
    lines = "".join(
        _level(frame, y(mark), 'class="line"')
        + _text(frame.left - 6, y(mark) + 4, told(mark), "end")
        for mark in marks
    )
    return lines + _times(frame)


def _times(frame: Frame) -> str:
    """Moments below the picture, in UTC."""
    span = frame.end - frame.begin
    room = max(2, int(frame.width // 90))
    step = next((each for each in _TIMES if span / each <= room), 604800)
    shape = "%H:%M:%S" if step < 60 else "%H:%M" if span < 2 * 86400 else "%d %b"
    found = []
    at = math.ceil(frame.begin / step) * step
    while at <= frame.end:
        x = frame.x(at)
        if frame.left + 12 < x < frame.width - 20:
            text = datetime.fromtimestamp(at, UTC).strftime(shape)
            found.append(_text(x, frame.height - 4, text, "middle"))
        at += step
    return "".join(found)


def _segments(
    moments: Sequence[tuple[float, str, str]], step: float
) -> list[tuple[float, float, str, str]]:
    found: list[tuple[float, float, str, str]] = []
    for at, text, color in moments:
        if found and found[-1][2] == text and at - found[-1][1] < step / 2:
            found[-1] = (found[-1][0], at + step, text, color)
        else:
            found.append((at, at + step, text, color))
    return found
