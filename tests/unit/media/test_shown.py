"""Packets that hold no picture to show."""

from __future__ import annotations

from data_miner_worker.media.shown import is_shown

VP9_KEY = bytes([0b1000_0010, 0x49])
VP9_HIDDEN = bytes([0b1000_0100, 0x00])
VP9_INTER = bytes([0b1000_0110, 0x00])
VP9_AGAIN = bytes([0b1000_1000])


def _superframe(*frames: bytes) -> bytes:
    marker = 0b1100_0000 | (len(frames) - 1)
    sizes = bytes(len(frame) for frame in frames)
    return b"".join(frames) + bytes([marker]) + sizes + bytes([marker])


def test_vp9_says_in_its_header_what_is_shown() -> None:
    """A shown frame, one that is shown again, and one that is only referred to."""
    assert is_shown("vp9", VP9_KEY)
    assert is_shown("vp9", VP9_INTER)
    assert is_shown("vp9", VP9_AGAIN)
    assert not is_shown("vp9", VP9_HIDDEN)


def test_a_superframe_is_shown_when_one_of_its_frames_is() -> None:
    """The hidden frame travels with a shown one."""
    assert is_shown("vp9", _superframe(VP9_HIDDEN, VP9_INTER))
    assert not is_shown("vp9", _superframe(VP9_HIDDEN, VP9_HIDDEN))


def test_vp8_has_one_bit_for_it() -> None:
    """The fifth bit of the first byte."""
    assert is_shown("vp8", bytes([0x10]))
    assert not is_shown("vp8", bytes([0x01]))


def test_other_codecs_show_every_packet() -> None:
    """H.264 has no hidden frames."""
    assert is_shown("h264", b"\x00")
