"""What the demo models know: eight colours, eight shapes, three textures, and their phrases."""

from __future__ import annotations

from typing import NamedTuple

COLOURS = {
    "red": (0.88, 0.10, 0.10),
    "green": (0.10, 0.68, 0.16),
    "blue": (0.12, 0.22, 0.92),
    "yellow": (0.95, 0.90, 0.12),
    "purple": (0.55, 0.12, 0.72),
    "orange": (1.00, 0.52, 0.05),
    "white": (0.96, 0.96, 0.96),
    "cyan": (0.10, 0.85, 0.88),
}
COLOUR_NAMES = tuple(COLOURS)
SHAPE_NAMES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "crescent")
TEXTURE_NAMES = ("solid", "striped", "dotted")
ANY = -1


class Look(NamedTuple):
    """Indices into the three lists; ANY where a phrase leaves an attribute open."""

    colour: int = ANY
    shape: int = ANY
    texture: int = ANY

    def covers(self, other: Look) -> bool:
        """Whether a thing that looks like `other` is meant by this look."""
        return all(want in (ANY, have) for want, have in zip(self, other, strict=True))


def look(colour: str = "", shape: str = "", texture: str = "") -> Look:
    """The look with these names; an empty name leaves the attribute open."""
    return Look(
        COLOUR_NAMES.index(colour) if colour else ANY,
        SHAPE_NAMES.index(shape) if shape else ANY,
        TEXTURE_NAMES.index(texture) if texture else ANY,
    )


def phrase(wanted: Look) -> str:
    """The plainest phrase, such as "a striped red star"; an open shape is called "shape"."""
    words = [TEXTURE_NAMES[wanted.texture]] if wanted.texture != ANY else []
    words += [COLOUR_NAMES[wanted.colour]] if wanted.colour != ANY else []
    words.append(SHAPE_NAMES[wanted.shape] if wanted.shape != ANY else "shape")
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join([article, *words])
