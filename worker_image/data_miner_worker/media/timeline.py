"""When each frame of a video is shown and where it is stored, read without decoding it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from data_miner.stage import StageError
from data_miner_worker.media.opening import opened, reason
from data_miner_worker.media.runs import Starts
from data_miner_worker.media.shown import HAS_HIDDEN, is_shown

Packet = Any
"""An av.Packet of video; its type has no published parameters."""
Tick = Callable[[], None]

_TRIAL_FRAMES: Final = 16
"""Frames that are decoded to see whether the container's times are those of the pictures."""
_PACKETS_PER_TICK: Final = 2000
_SLACK_SECONDS: Final = 1.0
"""A video that ends this much before it says is not called cut off: sound may be a bit longer."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """All frames of a video that are shown, in the order in which they are."""

    pts: NDArray[np.int64]
    """Presentation times, rising, in units of `time_base`."""
    time_base: Fraction
    """Seconds."""
    keyframe: NDArray[np.bool_]
    """Whether the frame is stored whole."""
    positions: NDArray[np.int64] | None
    """Where each frame is stored, in the file's order of video packets. None when the container
    has no usable times: then a frame's number is known only by decoding all before it."""
    starts: Starts
    packets: int
    partial: str | None
    """Why there is less than the file promises; None when it is whole, as far as one can tell."""

    def __len__(self) -> int:
        return len(self.pts)

    def seconds_at(self, frame: int) -> float:
        """When a frame is shown, seconds from the first one."""
        return float(int(self.pts[frame] - self.pts[0]) * self.time_base)

    @property
    def duration_seconds(self) -> float:
        """From the first frame to the end of the last one, taken to last as the others do."""
        if len(self.pts) < 2:
            return 0.0
        last = self.seconds_at(-1)
        return last + last / (len(self.pts) - 1)


@dataclass(slots=True)
class _Packets:
    """What one pass over the file's packets found."""

    pts: list[int | None] = field(default_factory=list)
    keyframe: list[bool] = field(default_factory=list)
    shown: list[bool] = field(default_factory=list)
    end_seconds: float = 0.0
    """End of the last packet of the video."""
    broken: str | None = None


def read_timeline(path: Path, tick: Tick = lambda: None) -> Timeline:
    """Find a video's frames; reads the whole file, and decodes only where times cannot be trusted.

    Raises:
        StageError: as `opened` does; permanent ``corrupt`` when no frame can be found at all.
    """
    found, time_base, promised = _scan(path, tick)
    partial = _ends_early(path, found, promised, tick) or found.broken
    if _times_are_sound(found) and _pictures_agree(path, found):
        return _from_packets(found, time_base, partial)
    timeline = _by_decoding(path, len(found.pts), partial, tick)
    if not len(timeline):
        raise nothing_decodes(path)
    return timeline


@dataclass(frozen=True, slots=True)
class Times:
    """What a file's packets say about when their pictures are shown."""

    packets: int
    usable: bool
    """Whether every frame has a time of its own that the decoder keeps to."""


def read_times(path: Path, tick: Tick = lambda: None) -> Times:
    """Look at a file's packet times; decodes its beginning alone. Raises as `opened` does."""
    found, _, _ = _scan(path, tick)
    return Times(len(found.pts), _times_are_sound(found) and _pictures_agree(path, found))


def nothing_decodes(path: Path) -> StageError:
    """The failure of a file that can be opened and has no picture."""
    return StageError(
        "corrupt", f"{path.name}: not one of its frames can be decoded", permanent=True
    )


def video_packets(
    container: av.container.InputContainer, stream: av.VideoStream, broken: list[str] | None = None
) -> Iterator[Packet]:
    """The stream's packets that hold something. A file that breaks off ends the iteration; why is
    appended to `broken`."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.error.FFmpegError as error:
        if broken is not None:
            broken.append(f"the file cannot be read to its end: {reason(error)}")


def decoded(context: av.VideoCodecContext, packet: Packet | None) -> list[av.VideoFrame] | None:
    """The frames that a packet brings out of the decoder; None when it is damaged."""
    try:
        return [f for f in context.decode(packet) if not f.is_corrupt]
    except (av.error.FFmpegError, ValueError):
        return None


def _scan(path: Path, tick: Tick) -> tuple[_Packets, Fraction, float | None]:
    found, broken = _Packets(), list[str]()
    with opened(path) as (container, stream):
        codec = stream.codec_context.name
        time_base = Fraction(stream.time_base or Fraction(1, 1000))
        promised = _promised_seconds(container, stream, time_base)
        looks_inside = codec in HAS_HIDDEN
        packet: Packet = None
        for number, packet in enumerate(video_packets(container, stream, broken)):
            if number % _PACKETS_PER_TICK == 0:
                tick()
            found.pts.append(packet.pts)
            found.keyframe.append(packet.is_keyframe)
            shown = not looks_inside or is_shown(codec, memoryview(packet))
            found.shown.append(shown and not packet.is_discard)
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * time_base)
                found.end_seconds = max(found.end_seconds, end)
        if packet is not None and packet.is_corrupt:
            broken.append("the file breaks off within its last packet")
    found.broken = broken[0] if broken else None
    return found, time_base, promised


def _promised_seconds(
    container: av.container.InputContainer, stream: av.VideoStream, time_base: Fraction
) -> float | None:
    """When the file says that it ends, on the video's clock; None when it does not say."""
    if stream.duration is not None:
        return float(((stream.start_time or 0) + stream.duration) * time_base)
    if container.duration is not None:
        return ((container.start_time or 0) + container.duration) / av.time_base
    return None


def _ends_early(path: Path, found: _Packets, promised: float | None, tick: Tick) -> str | None:
    """Whether the file was cut off: neither the picture nor the sound reaches the promised end."""
    if promised is None or found.end_seconds >= promised - _SLACK_SECONDS:
        return None
    end = max(found.end_seconds, _last_end_seconds(path, tick))
    if end >= promised - _SLACK_SECONDS:
        return None
    return f"the file ends at {end:.1f} s of {promised:.1f} s"


def _last_end_seconds(path: Path, tick: Tick) -> float:
    """When the last packet of any stream ends."""
    end = 0.0
    with opened(path) as (container, _):
        try:
            for number, packet in enumerate(container.demux()):
                if number % _PACKETS_PER_TICK == 0:
                    tick()
                if packet.pts is not None and packet.time_base is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        except av.error.FFmpegError:
            return end
    return end


def _times_are_sound(found: _Packets) -> bool:
    """Whether every packet has a time and no two shown ones have the same."""
    shown = [pts for pts, is_shown_ in zip(found.pts, found.shown, strict=True) if is_shown_]
    return None not in found.pts and len(set(shown)) == len(shown) > 0


def _pictures_agree(path: Path, found: _Packets) -> bool:
    """Whether the first frames come out of the decoder in the order of their packets' times.

    AVI, and files that were made from it carelessly, store the order of decoding as time.
    """
    expected = {pts for pts, shown in zip(found.pts, found.shown, strict=True) if shown}
    times: list[int | None] = []
    with opened(path) as (container, stream):
        for fed, packet in enumerate(video_packets(container, stream)):
            times += [f.pts for f in decoded(stream.codec_context, packet) or []]
            if len(times) >= _TRIAL_FRAMES or fed >= 4 * _TRIAL_FRAMES:
                break
        else:
            times += [f.pts for f in decoded(stream.codec_context, None) or []]
    known = [t for t in times if t is not None]
    rising = all(a < b for a, b in pairwise(known))
    return len(known) == len(times) and rising and expected.issuperset(known)


def _from_packets(found: _Packets, time_base: Fraction, partial: str | None) -> Timeline:
    pts = np.array(found.pts, np.int64)
    keyframe = np.array(found.keyframe, np.bool_)
    shown = np.flatnonzero(found.shown)
    order = shown[np.argsort(pts[shown], kind="stable")]
    starts = np.flatnonzero(keyframe)
    return Timeline(
        pts=pts[order],
        time_base=time_base,
        keyframe=keyframe[order],
        positions=order.astype(np.int64),
        starts=Starts(starts.astype(np.int64), pts[starts]),
        packets=len(pts),
        partial=partial,
    )


def _by_decoding(path: Path, packets: int, partial: str | None, tick: Tick) -> Timeline:
    """The timeline of a file without usable times: frames follow each other at the usual rate."""
    with opened(path) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        keyframe = [bool(frame.key_frame) for frame in every_frame(container, stream, tick)]
    empty = np.empty(0, np.int64)
    return Timeline(
        pts=np.arange(len(keyframe), dtype=np.int64),
        time_base=1 / Fraction(rate),
        keyframe=np.array(keyframe, np.bool_),
        positions=None,
        starts=Starts(empty, empty),
        packets=packets,
        partial=partial,
    )


def every_frame(
    container: av.container.InputContainer, stream: av.VideoStream, tick: Tick
) -> Iterator[Any]:
    """All frames that decode, in the order in which they are shown."""
    for number, packet in enumerate(video_packets(container, stream)):
        if number % 50 == 0:
            tick()
        yield from decoded(stream.codec_context, packet) or ()
    yield from decoded(stream.codec_context, None) or ()
