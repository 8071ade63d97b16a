"""What a project has cost."""

from __future__ import annotations

from collections.abc import Mapping


def totals(by_stage: Mapping[tuple[str, str], float]) -> Mapping[str, float]:
    """Costs by counter, in the order of their names, out of those by stage and counter.

    Of a counter whose name begins with ``max_`` the greatest value, of others the sum.
    """
    found: dict[str, float] = {}
    for (_, name), amount in sorted(by_stage.items(), key=lambda cost: (cost[0][1], cost[0][0])):
        known = found.get(name, 0.0)
        found[name] = max(known, amount) if name.startswith("max_") else known + amount
    return found


def per_image(totals: Mapping[str, float], images: int) -> Mapping[str, float]:
    """Each cost divided by the images that were kept; empty when there are none."""
    if not images:
        return {}
    return {k: value / images for k, value in totals.items() if not k.startswith("max_")}
