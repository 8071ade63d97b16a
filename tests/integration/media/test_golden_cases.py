"""Golden cases of video, each of which a predecessor of this program got wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_miner.stage import Done, Fact, StageError, Video
from data_miner_worker import columns, media
from data_miner_worker.stages.cut import Cut
from data_miner_worker.stages.download import Download
from data_miner_worker.stages.extract import Extract
from support.context import Bench, StageContext
from support.media import H264, H264_WHOLE, VP9, Kind, clip, cut_off, repeated, spoil, still

ANY = {"max_height": 1080, "max_bytes": None, "credential": None}
SMALL = (64, 36)
FLAT = Kind("mp4", "libx264", {"preset": "ultrafast", "x264-params": "bframes=0:keyint=infinite"})


def _sampling(strategy: str, **how: Any) -> dict[str, Any]:
    default = {"every_seconds": None, "every_frames": None, "max_frames": 1000}
    return {"sampling": {"strategy": strategy, **default, **how}, "renders": []}


def _bench(tmp_path: Path, path: Path) -> Bench:
    return Bench(tmp_path / "bench", Video("clip-1", path.as_uri(), "FILE"))


def _extract(bench: Bench, path: Path, params: dict[str, Any]) -> tuple[Done, list[int]]:
    done, context = _run_extract(bench, path, params)
    index = pq.read_table(context.fetch(done.artifacts[0]))
    return done, index.column("frame").to_pylist()


def _run_extract(bench: Bench, path: Path, params: dict[str, Any]) -> tuple[Done, StageContext]:
    context = bench.context("extract", params, inputs={"download": (bench.source(path),)})
    done = Extract().run(context)
    assert isinstance(done, Done)
    return done, context


@pytest.fixture(scope="session")
def ten_minutes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """600 s at 30 frames a second: an mp4, and a WebM without duration and frame count."""
    folder = tmp_path_factory.mktemp("long")
    mp4 = clip(folder / "piece", FLAT, frames=300, size=SMALL, options={"preset": "ultrafast"})
    webm = clip(folder / "piece", VP9, frames=300, size=SMALL, options={"cpu-used": "8"})
    return {
        "mp4": repeated(folder / "long.mp4", mp4, 60),
        "webm": repeated(folder / "long.webm", webm, 60, live=True),
    }


@pytest.mark.parametrize("name", ["mp4", "webm"])
def test_ten_minutes_with_stride_30_give_600_frames(
    ten_minutes: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """18,000 frames, every 30th: 600, the last one number 17970; also without a frame count."""
    path = ten_minutes[name]
    done, frames = _extract(_bench(tmp_path, path), path, _sampling("Interval", every_frames=30))
    assert frames == list(range(0, 18_000, 30))
    assert done.facts["frames"] == 600
    assert done.facts["source_frames"] == 18_000
    assert done.facts["partial"] is None


def test_a_cap_is_spread_over_the_whole_video(ten_minutes: dict[str, Path], tmp_path: Path) -> None:
    """Ten frames of ten minutes come from all ten minutes, not from the first seconds."""
    path = ten_minutes["mp4"]
    params = _sampling("Time", every_seconds=1.0, max_frames=10)
    _, frames = _extract(_bench(tmp_path, path), path, params)
    assert frames == list(range(900, 18_000, 1800))


def test_an_mp4_cut_before_its_index_is_corrupt(tmp_path: Path) -> None:
    """An mp4 without moov fails with a name; it never succeeds with no frames."""
    whole = clip(tmp_path / "whole", H264, frames=300, size=(320, 180))
    assert whole.stat().st_size > 200_000
    path = cut_off(whole, tmp_path / "cut.mp4", 200_000)
    with pytest.raises(StageError, match="cut off or damaged") as caught:
        Download().run(_bench(tmp_path, path).context("download", ANY))
    assert (caught.value.error_class, caught.value.permanent) == ("corrupt", True)


def test_a_webm_cut_in_the_middle_gives_what_there_is_and_says_so(tmp_path: Path) -> None:
    """The frames before the cut, and a reason with both lengths."""
    whole = clip(tmp_path / "whole", VP9, frames=300, size=(320, 180), options={"b": "400k"})
    path = cut_off(whole, tmp_path / "cut.webm", 30_000)
    bench = _bench(tmp_path, path)
    downloaded = Download().run(bench.context("download", ANY))
    assert isinstance(downloaded, Done)
    done, frames = _extract(bench, path, _sampling("Interval", every_frames=5))
    assert 1 <= len(frames) < 60
    assert str(done.facts["partial"]).startswith("the file ends at ")
    assert str(done.facts["partial"]).endswith(" of 10.0 s")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ("+faststart", "the file ends at "),
        ("+frag_keyframe+empty_moov", "the file breaks off within its last packet"),
    ],
)
def test_an_mp4_cut_behind_its_index_gives_what_there_is_and_says_so(
    tmp_path: Path, flags: str, reason: str
) -> None:
    """With the index in front, or in fragments: the beginning is used, the lack is named."""
    whole = tmp_path / "whole.mp4"
    source = clip(tmp_path / "source", H264, frames=120)
    command = [media.program(), "-v", "error", "-i", str(source), "-c", "copy"]
    subprocess.run([*command, "-movflags", flags, str(whole)], check=True)
    path = cut_off(whole, tmp_path / "cut.mp4", whole.stat().st_size * 3 // 5)
    done, frames = _extract(_bench(tmp_path, path), path, _sampling("Interval", every_frames=5))
    assert 5 <= len(frames) < 22
    assert str(done.facts["partial"]).startswith(reason)


def test_keyframes_of_a_static_clip_are_one_and_all_of_it_is_examined(tmp_path: Path) -> None:
    """Ten still minutes stored as one group of pictures: one frame, and 18,000 looked at."""
    path = clip(tmp_path / "still", FLAT, frames=18_000, size=SMALL, gop=20_000, draw=_grey)
    done, context = _run_extract(_bench(tmp_path, path), path, _sampling("Keyframe"))
    assert done.facts["frames"] == 1
    assert done.facts["source_frames"] == 18_000
    assert done.facts["duration_seconds"] == pytest.approx(600)
    assert context.counters["packets_decoded"] == 1


_GREY = still(0, *SMALL)


def _grey(index: int, width: int, height: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    del index, width, height
    return _GREY


def test_one_undecodable_frame_is_dropped_and_counted(tmp_path: Path) -> None:
    """Of 60 kept frames one cannot be decoded: 59 images, and one failure with its number."""
    path = clip(tmp_path / "whole", H264_WHOLE, frames=60, gop=1)
    spoil(path, 31)
    bench = _bench(tmp_path, path)
    done = Cut().run(_cut_context(bench, path, list(range(60))))
    assert isinstance(done, Done)
    assert done.facts["frames"] == len(done.artifacts) == 59
    assert done.facts["failed"] == [{"frame": 31, "reason": "it cannot be decoded"}]


def test_one_undecodable_frame_costs_no_other_in_extract(tmp_path: Path) -> None:
    """The index has the other 59, and the result says that one is missing."""
    path = clip(tmp_path / "whole", H264_WHOLE, frames=60, gop=1)
    spoil(path, 31)
    done, frames = _extract(_bench(tmp_path, path), path, _sampling("Interval", every_frames=1))
    assert frames == [i for i in range(60) if i != 31]
    assert done.facts["partial"] == "1 of 60 sampled frames cannot be decoded"


def _cut_context(
    bench: Bench,
    path: Path,
    kept: list[int],
    *,
    previous: tuple[Fact, ...] = (),
    chosen_from: str | None = None,
) -> StageContext:
    """A cut of these frames, as dedup would ask for it; chosen from this source if not another."""
    assert bench.video is not None
    source = bench.source(path)
    rows = len(kept)
    table = bench.root / "selection.parquet"
    columns.write(
        table,
        columns.SELECTION,
        {
            "video_id": [bench.video.video_id] * rows,
            "source_sha256": [chosen_from or source.artifacts[0].sha256] * rows,
            "frame": kept,
            "pts_seconds": [frame / 30 for frame in kept],
            "status": ["kept"] * rows,
            "representative_video_id": [None] * rows,
            "representative_frame": [None] * rows,
            "cosine": [None] * rows,
        },
    )
    context = bench.context(
        "cut",
        {"format": "JPEG", "quality": 90},
        subject=f"w1/{bench.video.video_id}",
        wave=1,
        previous=previous,
    )
    selection = context.publish(table, "selection")
    dedup = Fact("dedup", "w1", None, {}, (selection,), 1)
    inputs = {"dedup": (dedup,), "download": (source,)}
    object.__setattr__(context.assignment, "inputs", inputs)
    return context


def test_cut_takes_again_what_was_cut_before(tmp_path: Path) -> None:
    """A later wave with half of the same frames decodes the new ones alone; lost ones come back."""
    path = clip(tmp_path / "clip", H264, frames=60)
    bench = _bench(tmp_path, path)
    first_context = _cut_context(bench, path, [3, 4, 40])
    first = Cut().run(first_context)
    assert isinstance(first, Done)
    assert first.facts["reused"] == 0
    bench.context("lose", {}).fetch(first.artifacts[1]).unlink()
    lent = bench.fact(first_context, first)
    context = _cut_context(bench, path, [3, 4, 41], previous=(lent,))
    second = Cut().run(context)
    assert isinstance(second, Done)
    assert second.facts["reused"] == 1
    assert context.counters["frames_cut"] == 2
    assert [a.media["frame"] for a in second.artifacts] == [3, 4, 41]
    assert second.artifacts[:2] == first.artifacts[:2]


def test_cut_takes_no_frame_of_another_file(tmp_path: Path) -> None:
    """A lost source came back with other content: what was chosen from the old one is not cut out
    of the new one, but images of the old one that are still there are used."""
    path = clip(tmp_path / "clip", H264, frames=30)
    bench = _bench(tmp_path, path)
    first_context = _cut_context(bench, path, [3, 4])
    first = Cut().run(first_context)
    assert isinstance(first, Done)
    old = str(first.facts["source_sha256"])
    lent = bench.fact(first_context, first)
    other = clip(tmp_path / "other", H264, frames=40)

    context = _cut_context(bench, other, [4, 5], previous=(lent,), chosen_from=old)
    second = Cut().run(context)

    assert isinstance(second, Done)
    assert [a.media["frame"] for a in second.artifacts] == [4]
    assert [one["frame"] for one in second.facts["failed"]] == [5]
    assert "not there any more" in second.facts["failed"][0]["reason"]
    assert second.facts["source_sha256"] == old
    assert context.counters["packets_decoded"] == 0


def test_cut_of_kept_frames_alone_decodes_nothing(tmp_path: Path) -> None:
    """Everything is lent: no packet of the source is touched."""
    path = clip(tmp_path / "clip", H264, frames=30)
    bench = _bench(tmp_path, path)
    first_context = _cut_context(bench, path, [3, 4])
    first = Cut().run(first_context)
    assert isinstance(first, Done)
    context = _cut_context(bench, path, [4], previous=(bench.fact(first_context, first),))
    second = Cut().run(context)
    assert isinstance(second, Done)
    assert second.facts["frames"] == second.facts["reused"] == 1
    assert context.counters["packets_decoded"] == 0


def test_cut_images_are_the_frames(tmp_path: Path) -> None:
    """Full size, right frame, and media facts for the exporter."""
    path = clip(tmp_path / "clip", H264, frames=60, size=(128, 72))
    bench = _bench(tmp_path, path)
    context = _cut_context(bench, path, [33])
    done = Cut().run(context)
    assert isinstance(done, Done)
    (image,) = done.artifacts
    assert dict(image.media) == {"frame": 33, "pts_seconds": 1.1, "width": 128, "height": 72}
    assert image.uri.endswith(".jpg")
    (picture,) = media.pictures(path, media.read_timeline(path), [33])
    assert picture.rgb is not None
    with Image.open(context.fetch(image)) as opened:
        assert np.abs(np.asarray(opened).astype(int) - picture.rgb).mean() < 16
