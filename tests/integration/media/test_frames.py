"""Frames by number: the same pixels as a full decode, from every codec, and little work for it."""

from __future__ import annotations

import io
import os
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data_miner_worker import media
from data_miner_worker.media.pixels import to_rgb
from data_miner_worker.media.timeline import Timeline
from support.media import (
    AV1,
    H264,
    H264_AVI,
    H264_OPEN_GOP,
    H264_RAW,
    H264_STRIPES,
    H264_TS,
    H264_WHOLE,
    HEVC,
    MPEG2,
    VP9,
    clip,
    every_frame,
    spoil,
)

Rgb = NDArray[np.uint8]

KINDS = {
    "h264": H264,
    "h264-open-gop": H264_OPEN_GOP,
    "h264-stripes": H264_STRIPES,
    "h264-transport-stream": H264_TS,
    "h264-avi": H264_AVI,
    "h264-raw": H264_RAW,
    "hevc": HEVC,
    "vp9": VP9,
    "av1": AV1,
    "mpeg2": MPEG2,
}


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One clip of 90 frames of each kind."""
    folder = tmp_path_factory.mktemp("clips")
    return {name: clip(folder / name, kind) for name, kind in KINDS.items()}


def _picked(
    path: Path, timeline: Timeline, frames: list[int]
) -> tuple[dict[int, Rgb | None], Counter[str]]:
    counts: Counter[str] = Counter()
    pictures = list(
        media.pictures(
            path, timeline, frames, count=lambda name, by: counts.update({name: int(by)})
        )
    )
    assert [picture.frame for picture in pictures] == frames
    return {picture.frame: picture.rgb for picture in pictures}, counts


def _same(picked: Rgb | None, reference: Rgb) -> bool:
    return picked is not None and np.array_equal(picked, reference)


def _ffmpeg(*arguments: str) -> None:
    subprocess.run([media.program(), "-v", "error", *arguments], check=True)


@pytest.mark.parametrize("name", KINDS)
def test_frames_are_those_of_a_full_decode(clips: dict[str, Path], name: str) -> None:
    """Same number of frames, same order, same pixels, for dense and sparse choices."""
    path = clips[name]
    reference = [to_rgb(frame) for frame in every_frame(path)]
    timeline = media.read_timeline(path)
    assert len(timeline) == len(reference) == 90
    assert timeline.partial is None
    for frames in ([0], [89], list(range(90)), list(range(4, 90, 7)), [29, 30, 31, 58, 59, 60]):
        picked, _ = _picked(path, timeline, frames)
        for frame in frames:
            assert _same(picked[frame], reference[frame]), (name, frame)


@pytest.mark.parametrize("name", ["h264", "h264-open-gop", "hevc", "vp9", "av1", "mpeg2"])
def test_only_what_a_frame_depends_on_is_decoded(clips: dict[str, Path], name: str) -> None:
    """One early frame a group of pictures costs a fraction of the packets."""
    path = clips[name]
    timeline = media.read_timeline(path)
    assert timeline.positions is not None
    frames = [int(f) + 2 for f in np.flatnonzero(timeline.keyframe) if f < 80]
    _, counts = _picked(path, timeline, frames)
    assert counts["packets_decoded"] <= 12 * len(frames) < 90


@pytest.mark.parametrize("name", ["h264", "hevc", "mpeg2"])
def test_frames_that_none_refers_to_are_left_out(clips: dict[str, Path], name: str) -> None:
    """For a late frame of a group, the decoder passes over the disposable ones before it."""
    path = clips[name]
    _, counts = _picked(path, media.read_timeline(path), [28])
    assert counts["frames_decoded"] < 0.75 * counts["packets_decoded"]


@pytest.mark.parametrize("name", ["h264", "h264-open-gop", "hevc", "vp9", "av1", "mpeg2"])
def test_keyframes_are_decoded_alone(clips: dict[str, Path], name: str) -> None:
    """The Keyframe strategy decodes one packet a frame, on VP9 and AV1 as well."""
    path = clips[name]
    timeline = media.read_timeline(path)
    frames = np.flatnonzero(timeline.keyframe).tolist()
    assert 2 <= len(frames) <= 4
    _, counts = _picked(path, timeline, frames)
    assert counts["packets_decoded"] == len(frames)


def test_times_are_those_of_the_container_when_the_rate_varies(tmp_path: Path) -> None:
    """Presentation times, not number divided by rate."""
    times = [0, 40, 80, 600, 640, 2000, 2040, 2080, 5000, 5033]
    path = clip(tmp_path / "vfr", VP9, frames=10, times=times)
    timeline = media.read_timeline(path)
    assert [round(timeline.seconds_at(i) * 1000) for i in range(10)] == times


def test_a_clip_without_duration_and_frame_count_is_read_to_its_end(tmp_path: Path) -> None:
    """A live WebM says neither; all of its frames are found."""
    path = clip(tmp_path / "live", VP9, live=True)
    assert media.probe(path).duration_seconds is None
    timeline = media.read_timeline(path)
    assert (len(timeline), timeline.partial) == (90, None)
    assert timeline.duration_seconds == pytest.approx(3.0, abs=0.01)


def test_what_an_edit_list_cuts_away_is_not_counted(clips: dict[str, Path], tmp_path: Path) -> None:
    """Frames before the beginning of an mp4's edit are decoded where needed but have no number."""
    edited = tmp_path / "edited.mp4"
    _ffmpeg("-ss", "1.3", "-i", str(clips["h264"]), "-c", "copy", str(edited))
    reference = [to_rgb(frame) for frame in every_frame(edited)]
    timeline = media.read_timeline(edited)
    assert len(timeline) == len(reference) < 90
    assert timeline.packets > len(timeline)
    picked, _ = _picked(edited, timeline, [0, 3, 20])
    for frame in (0, 3, 20):
        assert _same(picked[frame], reference[frame])


@pytest.mark.parametrize(("codec", "packets"), [("libvpx", 95), ("libvpx-vp9", 90)])
def test_hidden_frames_have_no_number(tmp_path: Path, codec: str, packets: int) -> None:
    """VP8 stores them as packets of their own, VP9 inside of others: neither is counted."""
    path = tmp_path / "hidden.webm"
    source = ["-f", "lavfi", "-i", "testsrc2=size=128x72:rate=30:duration=3"]
    coding = ["-c:v", codec, "-b:v", "80k", "-auto-alt-ref", "1", "-lag-in-frames", "25"]
    for turn in ("1", "2"):
        passes = ["-threads", "1", "-pass", turn, "-passlogfile", str(tmp_path / "log")]
        _ffmpeg(*source, *coding, "-g", "128", *passes, "-y", str(path))
    timeline = media.read_timeline(path)
    assert timeline.packets == packets
    assert timeline.positions is not None
    reference = [to_rgb(frame) for frame in every_frame(path)]
    assert len(timeline) == len(reference) == 90
    picked, _ = _picked(path, timeline, [0, 17, 40, 89])
    for frame in (0, 17, 40, 89):
        assert _same(picked[frame], reference[frame])


def test_a_turned_video_comes_out_upright(clips: dict[str, Path], tmp_path: Path) -> None:
    """A phone held upright stores wide frames and a note to turn them."""
    turned = tmp_path / "turned.mp4"
    _ffmpeg("-display_rotation", "90", "-i", str(clips["h264"]), "-c", "copy", str(turned))
    probe = media.probe(turned)
    assert (probe.width, probe.height) == (72, 128)
    upright = to_rgb(every_frame(clips["h264"])[5])
    picked, _ = _picked(turned, media.read_timeline(turned), [5])
    assert _same(picked[5], np.rot90(upright))


def test_pieces_with_clocks_of_their_own_are_joined(tmp_path: Path) -> None:
    """Two transport streams in one file: rewritten, every frame has its own time again."""
    piece = clip(tmp_path / "piece", H264_TS, frames=40)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(piece.read_bytes() * 2)
    before = media.read_timeline(joined)
    assert (before.positions, len(before)) == (None, 80)
    rewritten, again = tmp_path / "a.mkv", tmp_path / "b.mkv"
    media.rewrite(joined, rewritten)
    media.rewrite(joined, again)
    assert rewritten.read_bytes() == again.read_bytes()
    after = media.read_timeline(rewritten)
    assert after.positions is not None
    reference = [to_rgb(frame) for frame in every_frame(joined)]
    picked, counts = _picked(rewritten, after, [41, 79])
    assert _same(picked[41], reference[41])
    assert _same(picked[79], reference[79])
    assert counts["packets_decoded"] < 80


def test_one_spoilt_packet_costs_its_frame_alone(tmp_path: Path) -> None:
    """In a clip of whole frames, the others still come, and the lost one is named."""
    path = clip(tmp_path / "whole", H264_WHOLE, frames=12, gop=1)
    reference = [to_rgb(frame) for frame in every_frame(path)]
    spoil(path, 5)
    timeline = media.read_timeline(path)
    assert len(timeline) == 12
    picked, _ = _picked(path, timeline, list(range(12)))
    assert [frame for frame in range(12) if picked[frame] is None] == [5]
    assert all(_same(picked[i], reference[i]) for i in range(12) if i != 5)


def test_the_same_pixels_give_the_same_image_file(clips: dict[str, Path]) -> None:
    """JPEG and PNG bytes are a function of the pixels; PNG gives them back."""
    rgb = to_rgb(every_frame(clips["h264"])[3])
    for form in ("JPEG", "PNG"):
        assert media.encode_image(rgb, form, 90) == media.encode_image(rgb.copy(), form, 90)
    with Image.open(io.BytesIO(media.encode_image(rgb, "PNG", 90))) as image:
        assert np.array_equal(np.asarray(image), rgb)
    with Image.open(io.BytesIO(media.encode_image(rgb, "JPEG", 95))) as image:
        assert np.abs(np.asarray(image).astype(int) - rgb).mean() < 12


def test_unknown_kinds_of_image_are_refused() -> None:
    """Neither JPEG nor PNG."""
    with pytest.raises(ValueError, match="JPEG or PNG"):
        media.encode_image(np.zeros((4, 4, 3), np.uint8), "WEBP", 90)


def test_making_a_clip_leaves_the_process_at_its_priority(tmp_path: Path) -> None:
    """An encoder that asks for real time must not have it for the tests after this one."""
    before = os.sched_getscheduler(0)

    clip(tmp_path / "clip", AV1)

    assert os.sched_getscheduler(0) == before
