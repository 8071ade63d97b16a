"""Decodes chosen frames of a video, and as little else as is possible."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from data_miner_worker.media.opening import opened
from data_miner_worker.media.pixels import to_rgb
from data_miner_worker.media.runs import Run, plan
from data_miner_worker.media.timeline import (
    Tick,
    Timeline,
    decoded,
    every_frame,
    video_packets,
)

Count = Callable[[str, float], None]
"""Takes the name of a counter (``packets_decoded``, ``frames_decoded``) and an amount."""

_PACKETS_PER_TICK: Final = 64
_STEPS_BACK: Final = (1, 3)
"""Where decoding starts again for a frame that did not come out, in keyframes before the first
try. Streams that refresh in stripes are whole only some frames after what is flagged as a key."""
_LEAVES_OUT: Final = frozenset({"h264", "mpeg1video", "mpeg2video", "mpeg4"})
"""Codecs whose decoder can be told, packet by packet, to pass over frames that none refers to.
(For AV1 that is settled once for all, and VP9 does not know it.)"""


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame of a video."""

    frame: int
    """Number in the order of showing, from 0, over all frames."""
    rgb: NDArray[np.uint8] | None
    """uint8 (H, W, 3); None when the frame cannot be decoded."""


def pictures(
    path: Path,
    timeline: Timeline,
    frames: Sequence[int],
    *,
    tick: Tick = lambda: None,
    count: Count = lambda _name, _amount: None,
) -> Iterator[Picture]:
    """The wanted frames, one picture each, rising.

    Args:
        path: the file that `timeline` was read from.
        timeline: all its frames.
        frames: rising indices in 0..len(timeline) - 1.
        tick: called at least once for each group of pictures.
        count: told what was decoded.

    Raises:
        StageError: as `opened` does.
    """
    if timeline.positions is None:
        yield from _in_sequence(path, frames, tick, count)
        return
    runs = plan(frames, timeline.positions, timeline.pts, timeline.starts)
    yield from _Decoder(path, timeline, tick, count).decode(runs)


@dataclass(slots=True)
class _Open:
    """The run that is being decoded."""

    run: Run
    by_pts: dict[int | None, int]
    """The wanted frames by their presentation time."""
    waiting: deque[int]
    """Those that have not come out yet, rising."""
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class _Decoder:
    """Goes through the packets of a file, and holds one picture at a time."""

    path: Path
    timeline: Timeline
    tick: Tick
    count: Count

    def decode(self, runs: Sequence[Run], tries: int = 0) -> Iterator[Picture]:
        """The frames of the runs, rising."""
        coming = iter(runs)
        now = self._begin(next(coming, None))
        with opened(self.path) as (container, stream):
            context: Any = stream.codec_context
            leaves_out = _can_leave_out(context)
            for position, packet in enumerate(video_packets(container, stream)):
                if now is None:
                    return
                if position < now.run.start:
                    continue
                if leaves_out:
                    context.skip_frame = "DEFAULT" if packet.pts in now.by_pts else "NONREF"
                self.count("packets_decoded", 1)
                yield from self._take(now, decoded(context, packet), tries)
                if position == now.run.end:
                    yield from self._take(now, decoded(context, None), tries)
                    context.flush_buffers()
                    yield from self._missed(now, None, tries)
                    now = self._begin(next(coming, None))
                if position % _PACKETS_PER_TICK == 0 or now is None or position < now.run.start:
                    self.tick()
        # The file has become shorter than its timeline: what is left cannot be had.
        while now is not None:
            now.damaged = True
            yield from self._missed(now, None, tries)
            now = self._begin(next(coming, None))

    def _begin(self, run: Run | None) -> _Open | None:
        if run is None:
            return None
        by_pts: dict[int | None, int] = {int(self.timeline.pts[f]): f for f in run.frames}
        return _Open(run, by_pts, deque(run.frames))

    def _take(self, now: _Open, frames: list[Any] | None, tries: int) -> Iterator[Picture]:
        """The wanted ones of the frames that came out of the decoder; they come out rising."""
        if frames is None:
            now.damaged = True
            return
        self.count("frames_decoded", len(frames))
        for frame in frames:
            number = now.by_pts.get(frame.pts)
            if number is None:
                continue
            yield from self._missed(now, number, tries)
            if now.waiting and now.waiting[0] == number:
                now.waiting.popleft()
                yield Picture(number, to_rgb(frame))

    def _missed(self, now: _Open, before: int | None, tries: int) -> Iterator[Picture]:
        """What did not come out though its turn is over: tried again from further back, unless
        the file is damaged here."""
        missed = []
        while now.waiting and (before is None or now.waiting[0] < before):
            missed.append(now.waiting.popleft())
        if not missed:
            return
        if now.damaged or tries == len(_STEPS_BACK) or now.run.start == 0:
            yield from (Picture(frame, None) for frame in missed)
            return
        start = self.timeline.starts.earlier(now.run.start, _STEPS_BACK[tries])
        yield from self.decode([Run(start, now.run.end, tuple(missed))], tries + 1)


def _can_leave_out(context: Any) -> bool:
    if context.name == "hevc":
        # With layers in time, what no frame of its own layer refers to may serve a higher one.
        header = context.extradata or b""
        return len(header) > 21 and header[0] == 1 and (header[21] >> 3) & 7 == 1
    return context.name in _LEAVES_OUT


def _in_sequence(path: Path, frames: Sequence[int], tick: Tick, count: Count) -> Iterator[Picture]:
    """For files without usable times: decode all, and count."""
    waiting = deque(frames)
    with opened(path) as (container, stream):
        for number, frame in enumerate(every_frame(container, stream, tick)):
            if not waiting:
                return
            count("packets_decoded", 1)
            count("frames_decoded", 1)
            if number == waiting[0]:
                waiting.popleft()
                yield Picture(number, to_rgb(frame))
    yield from (Picture(frame, None) for frame in waiting)
