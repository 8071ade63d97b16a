"""Bars and histograms as HTML and SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from data_miner_worker.report.content import Histogram, Step
from data_miner_worker.report.markup import Markup, join, tag
from data_miner_worker.report.words import count, share

_WIDTH: Final = 460
_HEIGHT: Final = 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 26, 26


def funnel(steps: Sequence[Step]) -> Markup:
    """Bars, each group to its own scale, with the share that is left of the step before."""
    return tag("div", *(_group(list(group)) for _, group in groupby(steps, _unit)), class_="funnel")


def _unit(step: Step) -> str:
    return step.unit


def _group(steps: list[Step]) -> Markup:
    most = max((step.count for step in steps), default=0)
    rows = []
    for before, step in zip([None, *steps], steps, strict=False):
        rest = "" if before is None else share(step.count, before.count)
        width = 100 * step.count / most if most else 0
        rows.append(
            tag(
                "li",
                tag("span", step.label, class_="label"),
                tag("span", tag("i", style=f"width:{width:.2f}%"), class_="track"),
                tag("b", count(step.count)),
                tag("small", rest),
            )
        )
    return tag("div", tag("h3", steps[0].unit), tag("ol", *rows))


def histogram(one: Histogram) -> Markup:
    """Frames by score on a logarithmic scale, kept ones in colour, the threshold drawn in."""
    totals = [kept + dropped for kept, dropped in zip(one.kept, one.dropped, strict=True)]
    top = max(10, 10 ** math.ceil(math.log10(max(totals, default=1) or 1)))
    parts = [*_grid(top), *_bars(one, top), *_axis(one), *_line(one)]
    svg = tag(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=f"{one.kind} scores of {sum(totals)} frames, threshold {one.threshold:g}",
    )
    caption = (
        f"{one.kind.capitalize()} prompts: kept frames lie "
        f"{'above' if one.keeps_above else 'below'} {one.threshold:g}"
    )
    return tag("figure", svg, tag("figcaption", caption), class_="histogram")


def _x(value: float, one: Histogram) -> float:
    span = one.high - one.low or 1
    return _LEFT + (value - one.low) / span * (_WIDTH - _LEFT - _RIGHT)


def _y(number: float, top: float) -> float:
    """Height of a count; 0 lies on the base, 1 a little above it."""
    height = _HEIGHT - _TOP - _BOTTOM
    lift = math.log10(number * 9 / 10 + 1) if number < 1 else (math.log10(number) + 0.3)
    return _TOP + height * (1 - (0 if number <= 0 else lift / (math.log10(top) + 0.3)))


def _bars(one: Histogram, top: float) -> list[Markup]:
    bars = []
    step = (one.high - one.low) / len(one.kept)
    for number, (kept, dropped) in enumerate(zip(one.kept, one.dropped, strict=True)):
        left, right = _x(one.low + number * step, one), _x(one.low + (number + 1) * step, one)
        base, middle = _y(0, top), _y(kept, top)
        full = _y(kept + dropped, top)
        title = f"{one.low + number * step:.3g} to {one.low + (number + 1) * step:.3g}: "
        for low, high, name, amount in (
            (base, middle, "kept", kept),
            (middle, full, "dropped", dropped),
        ):
            if amount:
                bars.append(
                    tag(
                        "g",
                        tag("title", f"{title}{amount} {name}"),
                        tag(
                            "rect",
                            x=f"{left + 0.5:.1f}",
                            y=f"{high:.1f}",
                            width=f"{max(0.5, right - left - 1):.1f}",
                            height=f"{max(0.8, low - high):.1f}",
                            class_=name,
                        ),
                    )
                )
    return bars


def _grid(top: float) -> list[Markup]:
    powers = [10**n for n in range(round(math.log10(top)) + 1)]
    return [
        join(
            [
                tag(
                    "line",
                    x1=_LEFT,
                    x2=_WIDTH - _RIGHT,
                    y1=f"{_y(power, top):.1f}",
                    y2=f"{_y(power, top):.1f}",
                    class_="grid",
                ),
                tag("text", count(power), x=_LEFT - 6, y=f"{_y(power, top) + 3:.1f}", class_="y"),
            ]
        )
        for power in powers
    ]


def _axis(one: Histogram) -> list[Markup]:
    base = _y(0, 10)
    ticks = [one.low + (one.high - one.low) * n / 5 for n in range(6)]
    return [
        tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=base, y2=base, class_="base"),
        *(tag("text", f"{v:.3g}", x=f"{_x(v, one):.1f}", y=base + 16, class_="x") for v in ticks),
    ]


def _line(one: Histogram) -> list[Markup]:
    if not one.low <= one.threshold <= one.high:
        return []
    x = _x(one.threshold, one)
    near_right = x > _WIDTH - 120
    return [
        tag("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=8, y2=_y(0, 10), class_="threshold"),
        tag(
            "text",
            f"threshold {one.threshold:g}",
            x=f"{x - 6 if near_right else x + 6:.1f}",
            y=16,
            class_="threshold-label end" if near_right else "threshold-label",
        ),
    ]
