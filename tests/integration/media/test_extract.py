"""extract and cut as stages: the same bytes whenever they run, and sound tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from data_miner.stage import Done, StageError, StopRequested, Video
from data_miner_models.preprocessing import Preprocessing
from data_miner_worker import media
from data_miner_worker.render_file import RenderFile
from data_miner_worker.stages.extract import INDEX, Extract
from support.context import Bench, StageContext
from support.media import H264, VP9, clip
from support.product import DEMO_MEDIA

SQUASH = Preprocessing("squash", 32, 48, "bilinear")
PAD = Preprocessing("pad", 40, 40, "bicubic")


def _params(**sampling: Any) -> dict[str, Any]:
    defaults = {"strategy": "Time", "every_seconds": 0.5, "every_frames": None, "max_frames": 500}
    return {
        "sampling": {**defaults, **sampling},
        "renders": [
            {
                "mode": how.mode,
                "height": how.height,
                "width": how.width,
                "resample": how.resample,
                "key": how.key,
            }
            for how in (SQUASH, PAD)
        ],
    }


def _context(folder: Path, path: Path, params: dict[str, Any], **more: Any) -> StageContext:
    bench = Bench(folder, Video("clip-1", path.as_uri(), "FILE"))
    return bench.context("extract", params, inputs={"download": (bench.source(path),)}, **more)


def _done(context: StageContext) -> Done:
    done = Extract().run(context)
    assert isinstance(done, Done)
    return done


def _digests(done: Done) -> Sequence[str]:
    return [artifact.sha256 for artifact in done.artifacts]


def test_rows_of_index_and_renders_belong_together(tmp_path: Path) -> None:
    """Row by row: number, time, keyframe, measures, and the render of exactly that frame."""
    path = clip(tmp_path / "clip", H264, frames=60)
    context = _context(tmp_path / "bench", path, _params())
    done = _done(context)
    assert [a.kind for a in done.artifacts] == [
        "index",
        f"render:{SQUASH.key}",
        f"render:{PAD.key}",
    ]
    table = pq.read_table(context.fetch(done.artifacts[0]))
    assert table.schema.equals(INDEX)
    assert table.column("frame").to_pylist() == [0, 15, 30, 45]
    assert table.column("pts_seconds").to_pylist() == [0.0, 0.5, 1.0, 1.5]
    timeline = media.read_timeline(path)
    keys = [bool(timeline.keyframe[frame]) for frame in (0, 15, 30, 45)]
    assert table.column("keyframe").to_pylist() == keys
    assert keys[0]
    frames = media.pictures(path, timeline, [0, 15, 30, 45])
    pictures = [picture.rgb for picture in frames if picture.rgb is not None]
    assert table.column("phash").to_pylist() == [media.measure(rgb).phash for rgb in pictures]
    for how, artifact in ((SQUASH, done.artifacts[1]), (PAD, done.artifacts[2])):
        renders = np.load(context.fetch(artifact), mmap_mode="r")
        assert renders.dtype == np.uint8
        assert np.array_equal(renders, np.stack([how.render(rgb) for rgb in pictures]))
    assert done.facts == {
        "frames": 4,
        "width": 128,
        "height": 72,
        "duration_seconds": 2.0,
        "source_frames": 60,
        "partial": None,
        "source_sha256": context.assignment.inputs["download"][0].facts["source_sha256"],
    }
    assert context.counters["media_seconds"] == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["meadow.mp4", "harbour.webm", "market.mkv"])
def test_the_same_clip_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    """Two runs in two places: every artifact has the same digest."""
    params = _params(every_seconds=3.0)
    first = _done(_context(tmp_path / "a", DEMO_MEDIA / name, params))
    second = _done(_context(tmp_path / "b", DEMO_MEDIA / name, params))
    assert _digests(first) == _digests(second)
    assert first.facts["frames"] >= 5


def test_a_demo_clip_is_sampled_with_a_fraction_of_a_full_decode(tmp_path: Path) -> None:
    """Every 2 s: far fewer frames come out of the decoder than the clip has."""
    context = _context(tmp_path, DEMO_MEDIA / "meadow.mp4", _params(every_seconds=2.0))
    done = _done(context)
    assert context.counters["frames_decoded"] < 0.5 * done.facts["source_frames"]


def test_an_unknown_strategy_is_refused(tmp_path: Path) -> None:
    """No sampling is guessed."""
    path = clip(tmp_path / "clip", VP9, frames=5)
    with pytest.raises(ValueError, match="Scene"):
        Extract().run(_context(tmp_path / "bench", path, _params(strategy="Scene")))


def test_a_worker_that_stops_is_heard_in_the_middle(tmp_path: Path) -> None:
    """tick's StopRequested ends the run, and nothing is published."""
    path = clip(tmp_path / "clip", H264, frames=90)
    context = _context(tmp_path / "bench", path, _params(), stop_after_ticks=3)
    with pytest.raises(StopRequested):
        Extract().run(context)
    assert len(list((tmp_path / "bench" / "store").rglob("*.mp4"))) == 1
    assert not list((tmp_path / "bench" / "store").rglob("*.parquet"))


def test_a_lost_source_is_a_missing_input(tmp_path: Path) -> None:
    """The store no longer has the file: named, and not called corrupt."""
    path = clip(tmp_path / "clip", VP9, frames=5)
    context = _context(tmp_path / "bench", path, _params())
    context.fetch(context.assignment.inputs["download"][0].artifacts[0]).unlink()
    with pytest.raises(StageError) as caught:
        Extract().run(context)
    assert caught.value.error_class == "input_missing"


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """No room for the renders: the class that says so, and another try later."""
    path = clip(tmp_path / "clip", VP9, frames=30)
    context = _context(tmp_path / "bench", path, _params(every_seconds=0.1))
    (context.scratch / "render-0.npy").symlink_to("/dev/full")
    with pytest.raises(StageError, match="make room") as caught:
        Extract().run(context)
    assert (caught.value.error_class, caught.value.permanent) == ("disk_full", False)


def test_a_render_file_is_what_numpy_would_have_written(tmp_path: Path) -> None:
    """Written row by row or at once: the same bytes; a row of another shape is refused."""
    rows = np.random.default_rng(0).integers(0, 256, (1000, 4, 6, 3), dtype=np.uint8)
    with RenderFile(tmp_path / "rows.npy", 4, 6) as file:
        for row in rows:
            file.append(row)
        with pytest.raises(ValueError, match="uint8"):
            file.append(np.zeros((6, 4, 3), np.uint8))
    np.save(tmp_path / "once.npy", rows)
    assert (tmp_path / "rows.npy").read_bytes() == (tmp_path / "once.npy").read_bytes()
