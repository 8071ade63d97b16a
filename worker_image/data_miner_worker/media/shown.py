"""Whether a packet is shown: VP8 and VP9 store frames that are only there to be referred to."""

from __future__ import annotations

from typing import Final

HAS_HIDDEN: Final = frozenset({"vp8", "vp9"})
"""Codecs whose packets may hold no picture that is shown."""

Bytes = bytes | memoryview


def is_shown(codec: str, packet: Bytes) -> bool:
    """Whether decoding the packet gives a picture to show. True for codecs without hidden ones."""
    if codec == "vp8":
        return bool(packet[0] & 0x10)
    if codec == "vp9":
        return any(_vp9_frame_is_shown(frame) for frame in _vp9_frames(packet))
    return True


def _vp9_frames(packet: Bytes) -> list[Bytes]:
    """The frames of a superframe, or the packet itself."""
    marker = packet[-1]
    if marker & 0xE0 == 0xC0:
        count, width = (marker & 7) + 1, ((marker >> 3) & 3) + 1
        index = 2 + count * width
        if len(packet) >= index and packet[-index] == marker:
            frames, start = [], 0
            for number in range(count):
                at = len(packet) - index + 1 + number * width
                size = int.from_bytes(packet[at : at + width], "little")
                frames.append(packet[start : start + size])
                start += size
            return frames
    return [packet]


def _vp9_frame_is_shown(frame: Bytes) -> bool:
    """From the first bits of the header: marker, profile, shown again, kind, shown."""
    if not len(frame):
        return False
    bits = f"{frame[0]:08b}"
    at = 5 if bits[2:4] == "11" else 4
    return bits[at] == "1" or bits[at + 2] == "1"
