"""What a project has cost."""

from __future__ import annotations

from collections.abc import Mapping


def per_image(totals: Mapping[str, float], images: int) -> Mapping[str, float]:
    """Each cost divided by the images that were kept; empty when there are none."""
    if not images:
        return {}
    return {k: value / images for k, value in totals.items() if not k.startswith("max_")}
