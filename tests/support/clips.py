"""Small clips cut out of the demo's, and files that look like clips and are none."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import av

from support.product import DEMO_MEDIA

STAR = ("meadow.mp4", 0.0, 2.0)
"""A red star: where it lies in the demo's clips, in seconds, from keyframe to keyframe."""
RING = ("meadow.mp4", 4.0, 5.9)
OTHER_RING = ("harbour.webm", 14.0, 16.0)
OTHER_STAR = ("harbour.webm", 18.0, 20.0)
THIRD_STAR = ("harbour.webm", 6.0, 8.0)
THIRD_RING = ("harbour.webm", 20.0, 22.0)
LONG = ("harbour.webm", 14.0, 22.0)
"""An orange ring, a purple diamond, a white star, a blue ring."""


def cut(piece: tuple[str, float, float], target: Path) -> Path:
    """Write a piece of a demo clip, its packets unchanged; the suffix names the container."""
    name, start, end = piece
    with av.open(str(DEMO_MEDIA / name)) as source, av.open(str(target), "w") as out:
        stream = source.streams.video[0]
        copy = out.add_stream_from_template(stream)
        offset: int | None = None
        for packet in source.demux(stream):
            if packet.pts is None or packet.dts is None:
                continue
            at = float(packet.pts * packet.time_base)
            if packet.is_keyframe and at >= end:
                break
            if offset is None and packet.is_keyframe and at >= start:
                offset = packet.dts
            if offset is not None:
                packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
                packet.stream = copy
                out.mux(packet)
    return target


def piece(what: tuple[str, float, float], folder: Path) -> bytes:
    """The bytes of a piece, made in `folder`."""
    path = cut(what, folder / f"piece{Path(what[0]).suffix}")
    content = path.read_bytes()
    path.unlink()
    return content


def sound_only() -> bytes:
    """A second of a tone and no picture, which is a WAV file whatever its name says."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        samples = ((i * 500) % 20_000 - 10_000 for i in range(8000))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return out.getvalue()
