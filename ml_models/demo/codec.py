"""Frames through a real encoder and decoder, in memory or to a file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder prints its settings otherwise
Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Codec:
    encoder: str
    container: str
    options: dict[str, str] = field(default_factory=dict)


CODECS = {
    "h264": Codec("libx264", "mp4", {"preset": "veryfast"}),
    "hevc": Codec(
        "libx265",
        "matroska",
        {"preset": "ultrafast", "x265-params": "log-level=error:pools=1:frame-threads=1"},
    ),
    "vp9": Codec("libvpx-vp9", "webm", {"deadline": "realtime", "cpu-used": "8", "b": "0"}),
    "av1": Codec("libsvtav1", "matroska", {"preset": "12", "svtav1-params": "lp=1"}),
}


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


def encode(
    frames: Iterable[Frame],
    codec: str,
    crf: int,
    target: Path | io.BytesIO,
    *,
    frames_per_second: int = 25,
    keyframe_interval: int = 50,
) -> None:
    """Encode uint8 RGB (H, W, 3) frames of one size; one thread, so the bytes repeat."""
    chosen = CODECS[codec]
    options = {**chosen.options, "crf": str(crf), "g": str(keyframe_interval)}
    # Without bitexact, Matroska and WebM carry a random identifier.
    flags = {"fflags": "+bitexact"}
    destination = str(target) if isinstance(target, Path) else target
    opened = av.open(destination, "w", format=chosen.container, options=flags)
    with ordinary_priority(), opened as container:
        stream = None
        for index, frame in enumerate(frames):
            if stream is None:
                stream = container.add_stream(
                    chosen.encoder, rate=frames_per_second, options=options
                )
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.thread_count = 1
                stream.codec_context.time_base = Fraction(1, frames_per_second)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, frames_per_second)
            container.mux(stream.encode(picture))
        if stream is None:
            raise ValueError("there are no frames to encode")
        container.mux(stream.encode(None))


def decode(source: Path | io.BytesIO) -> Iterator[Frame]:
    """Every frame as uint8 RGB (H, W, 3)."""
    with av.open(str(source) if isinstance(source, Path) else source) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def roundtrip(frames: list[Frame], codec: str, crf: int) -> list[Frame]:
    """The same frames as a viewer would see them after compression."""
    buffer = io.BytesIO()
    encode(frames, codec, crf, buffer)
    buffer.seek(0)
    decoded = list(decode(buffer))
    if len(decoded) != len(frames):
        raise RuntimeError(f"{codec} gave {len(decoded)} frames back for {len(frames)}")
    return decoded
