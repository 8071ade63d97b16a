"""What a project has cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def totals(stages: Iterable[Mapping[str, float]]) -> Mapping[str, float]:
    """Costs by counter, in the order of their names, out of those of each stage.

    Of a counter whose name begins with ``max_`` the greatest value, of others the sum.
    """
    found: dict[str, float] = {}
    for costs in stages:
        for name, amount in costs.items():
            known = found.get(name, 0.0)
            found[name] = max(known, amount) if name.startswith("max_") else known + amount
    return dict(sorted(found.items()))


def per_image(totals: Mapping[str, float], images: int) -> Mapping[str, float]:
    """Each cost divided by the images that were kept; empty when there are none."""
    if not images:
        return {}
    return {k: value / images for k, value in totals.items() if not k.startswith("max_")}
