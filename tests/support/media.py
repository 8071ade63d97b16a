"""Tiny clips, made with the codecs that video comes in, and files that are broken in known ways."""

from __future__ import annotations

import io
import math
import os
import struct
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Kind:
    """A codec in a container."""

    suffix: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)
    container: str | None = None


_X264 = {"preset": "veryfast"}
H264 = Kind("mp4", "libx264", {**_X264, "x264-params": "bframes=3:b-pyramid=normal"})
H264_OPEN_GOP = Kind("mkv", "libx264", {**_X264, "x264-params": "bframes=3:open-gop=1"})
H264_STRIPES = Kind("mkv", "libx264", {**_X264, "x264-params": "intra-refresh=1:bframes=0"})
H264_WHOLE = Kind("mkv", "libx264", {**_X264, "x264-params": "keyint=1"})
H264_AVI = Kind("avi", "libx264", _X264)
H264_RAW = Kind("h264", "libx264", _X264, "h264")
H264_TS = Kind("ts", "libx264", _X264)
HEVC = Kind(
    "mkv", "libx265", {"preset": "fast", "x265-params": "log-level=none:open-gop=1:pools=1"}
)
VP9 = Kind(
    "webm",
    "libvpx-vp9",
    {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "25", "b": "300k"},
)
AV1 = Kind("mkv", "libsvtav1", {"preset": "11", "svtav1-params": "lp=1"})
MPEG2 = Kind("ts", "mpeg2video", {"bf": "2"})


def moving(index: int, width: int, height: int) -> Rgb:
    """A frame that differs from every other: gradients that move, and noise."""
    y, x = np.mgrid[0:height, 0:width]
    frame = np.empty((height, width, 3), np.uint8)
    frame[..., 0] = (x * 3 + index * 5) % 256
    frame[..., 1] = (y * 4 + index * 3) % 256
    frame[..., 2] = (x + y + index * 7) % 256
    noise = np.random.default_rng(index).integers(0, 32, (height, width, 3), dtype=np.uint8)
    return frame ^ noise


def still(index: int, width: int, height: int) -> Rgb:
    """The same grey gradient at every index."""
    del index
    row = np.linspace(40, 200, width).astype(np.uint8)
    return np.repeat(np.repeat(row[None, :, None], height, 0), 3, 2)


@contextmanager
def ordinary_priority() -> Iterator[None]:
    """Run as root, SVT-AV1 makes whoever calls it a real-time process, and its children after it:
    one that never waits then stops the machine. After the block it is as before."""
    if not hasattr(os, "sched_getscheduler"):  # not Linux
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def clip(
    path: Path,
    kind: Kind = H264,
    *,
    frames: int = 90,
    rate: int = 30,
    size: tuple[int, int] = (128, 72),
    gop: int = 30,
    draw: Callable[[int, int, int], Rgb] = moving,
    times: Sequence[int] | None = None,
    live: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a clip at `path` with the kind's suffix; returns where it is.

    `times` are presentation times in milliseconds, for a rate that varies. `live` writes it as a
    stream that is never gone back to: without duration, index and number of frames.
    """
    path = path.with_suffix(f".{kind.suffix}")
    width, height = size
    muxer = {"live": "1"} if live and kind.suffix == "webm" else {}
    opened = av.open(str(path), "w", format=kind.container, options=muxer)
    with ordinary_priority(), opened as container:
        stream: Any = container.add_stream(
            kind.codec, rate=rate, options={**kind.options, **(options or {})}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = gop
        stream.codec_context.thread_count = 1
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(draw(index, width, height), format="rgb24")
            frame.pts = index if times is None else times[index]
            if times is not None:
                frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def repeated(path: Path, source: Path, times: int, *, live: bool = False) -> Path:
    """The packets of a short clip again and again: a long clip that costs no encoding."""
    options = {"live": "1"} if live else {}
    with av.open(str(source)) as given, av.open(str(path), "w", options=options) as out:
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in given.demux(stream) if p.size]
        rate = Fraction(stream.average_rate or 30)
        assert stream.time_base is not None
        period = Fraction(len(packets)) / rate / stream.time_base
        for turn in range(times):
            for content, pts, dts, keyframe in packets:
                assert pts is not None
                assert dts is not None
                packet = av.Packet(content)
                packet.stream = copy
                packet.time_base = stream.time_base
                packet.pts = pts + round(turn * period)
                packet.dts = dts + round(turn * period)
                packet.is_keyframe = keyframe
                out.mux(packet)
    return path


def every_frame(path: Path) -> list[Any]:
    """Reference: all frames that a plain decoder gives, in its order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return list(container.decode(stream))


def cut_off(path: Path, target: Path, size: int) -> Path:
    """The first `size` bytes of a file."""
    target.write_bytes(path.read_bytes()[:size])
    return target


def sound_only(path: Path) -> Path:
    """A second of a tone."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        samples = (round(9000 * math.sin(i / 3)) for i in range(8000))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    path.write_bytes(out.getvalue())
    return path


def spoil(path: Path, number: int) -> Path:
    """Overwrite the content of one packet (in the file's order) of a clip with nonsense."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packet = [bytes(p) for p in container.demux(stream) if p.size][number]
    content = path.read_bytes()
    assert content.count(packet) == 1
    nonsense = b"\xff" * len(packet)
    path.write_bytes(content.replace(packet, nonsense))
    return path
