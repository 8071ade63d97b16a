"""Which packets must be decoded for some frames, and which not: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Run:
    """Packets from where decoding may start to the last one that is needed, both included."""

    start: int
    end: int
    """Positions in the file's order of packets."""
    frames: tuple[int, ...]
    """The wanted frames that they give, rising."""


@dataclass(frozen=True, slots=True)
class Starts:
    """Where decoding may start: the packets flagged as keyframes."""

    position: NDArray[np.int64]
    """Rising positions in the file's order of packets."""
    pts: NDArray[np.int64]
    """Their presentation times; they need not rise in a damaged file."""

    def before(self, position: int, pts: int) -> int:
        """The nearest start that the frame at `position` with `pts` depends on.

        A frame that is stored after a keyframe but shown before it (an open GOP) may refer to
        what came before that keyframe: it belongs to the one before. 0 when there is none.
        """
        number = int(np.searchsorted(self.position, position, side="right")) - 1
        while number >= 0 and self.pts[number] > pts:
            number -= 1
        return int(self.position[number]) if number >= 0 else 0

    def earlier(self, position: int, steps: int) -> int:
        """The start that lies `steps` starts before the one at `position`; 0 before the first."""
        number = int(np.searchsorted(self.position, position, side="left")) - steps
        return int(self.position[number]) if number >= 0 else 0


def plan(
    frames: Sequence[int], positions: NDArray[np.int64], pts: NDArray[np.int64], starts: Starts
) -> list[Run]:
    """The fewest packets that give `frames` (rising indices); runs rise and do not overlap.

    `positions` and `pts` say where each frame of the video is stored and when it is shown.
    """
    runs: list[Run] = []
    for frame in frames:
        position = int(positions[frame])
        start = starts.before(position, int(pts[frame]))
        wanted: tuple[int, ...] = (int(frame),)
        while runs and start <= runs[-1].end:
            last = runs.pop()
            start, position = min(last.start, start), max(last.end, position)
            wanted = (*last.frames, *wanted)
        runs.append(Run(start, position, wanted))
    return runs
